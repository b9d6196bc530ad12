"""What a safetensors file says of itself: read, trusting none of it, and written.

A file from a stranger may be cut short, lie about its sizes or not be safetensors at all.
Whatever it is, the answer is a FileHeader that is true of the bytes, or an AdapterFileError.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from errno import ENOENT
from itertools import pairwise
from math import prod
from pathlib import Path

from flux_lora.errors import AdapterFileError

LENGTH_BYTES = 8
LONGEST_HEADER = 32 * 2**20
"""Bytes. The format allows three times as much; what LoRAs say of themselves takes a few hundred KB."""
MOST_MARKS = 2_000_000
"""Quotes, brackets, braces and commas that are read: 100,000 tensors and a long list of tags."""
LONGEST_NAME = 200
"""Letters of a stranger's name that a message repeats."""
MOST_DIMENSIONS = 8
LARGEST_SIDE = 2**48
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip
METADATA = "__metadata__"
DAMAGED = "fetch or export it again; it is damaged"
NO_PICKLES = "ask its author for the .safetensors: opening a pickle can run any program, so nothing here opens one"
OTHER_FILES = (
    (b"PK\x03\x04", "a zip archive, such as a PyTorch .pt, .bin or .ckpt", NO_PICKLES),
    (b"\x80", "a Python pickle, such as an old .pt, .bin or .ckpt", NO_PICKLES),
    (b"GGUF", "a GGUF file, which holds a quantised base model", "give the file of a LoRA"),
    (b"version https://git-lfs", "the stand-in of a file that Git LFS holds", "fetch the file itself: git lfs pull"),
    (b"<", "a web page", "download the file again, signed in if its page asks for it"),
    (b"{", "JSON", "give the .safetensors beside it, or the folder that holds both"),
)
"""First bytes of files that are given for a LoRA, what they are, and what to do instead."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class FileHeader:
    """The table of contents of a safetensors file."""

    tensors: Mapping[str, Entry]
    metadata: Mapping[str, str]
    bytes: int
    """Size of the whole file."""


class _UntrueError(Exception):
    """Something in a header that cannot be true."""


def read_header(file: Path) -> FileHeader:
    """The header of a file whose every tensor is really there."""
    try:
        raw, total = _raw_header(file)
    except _UntrueError as untrue:
        raise _refusal(file, str(untrue)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AdapterFileError(
            f"{file} cannot be read: {reason}", fix="give the path of a .safetensors file"
        ) from error
    try:
        contents = json.loads(raw.decode(), object_pairs_hook=_no_twins)
        return _checked(contents, total, total - LENGTH_BYTES - len(raw))
    except _UntrueError as untrue:
        problem = str(untrue)
    except (ValueError, RecursionError):
        problem = "its header is not JSON"
    raise _refusal(file, problem)


def header_bytes(tensors: Mapping[str, Entry], metadata: Mapping[str, str]) -> bytes:
    """What stands before the tensors of a file. The same contents give the same bytes."""
    contents: dict[str, object] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    for name, entry in in_order(tensors):
        contents[name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": (entry.start, entry.end)}
    raw = json.dumps(contents, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % LENGTH_BYTES)
    return len(raw).to_bytes(LENGTH_BYTES, "little") + raw


def in_order(tensors: Mapping[str, Entry]) -> list[tuple[str, Entry]]:
    """The tensors as they lie in the file."""
    return sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end, item[0]))


def shown(words: str) -> str:
    """A stranger's words, quoted and short, without letters that could move a terminal's cursor."""
    return repr(words if len(words) <= LONGEST_NAME else f"{words[:LONGEST_NAME]}…")


def printable(words: str, longest: int = LONGEST_NAME) -> str:
    """A stranger's words on one line of a terminal: short, and without letters that could move its cursor."""
    cleaned = "".join(letter if letter.isprintable() else " " for letter in words[: longest + 1])
    return cleaned if len(cleaned) <= longest else f"{cleaned[:longest]}…"


def _refusal(file: Path, problem: str) -> AdapterFileError:
    """What the file is instead, if its first bytes tell."""
    with file.open("rb") as opened:
        first = opened.read(32)
    claims_a_header = first[4:LENGTH_BYTES] == bytes(4)
    for start, kind, fix in () if claims_a_header else OTHER_FILES:
        if first.lstrip().startswith(start):
            return AdapterFileError(f"{file} is not a safetensors file but {kind}", fix=fix)
    return AdapterFileError(f"{file} is not a whole safetensors file: {problem}", fix=DAMAGED)


def _raw_header(file: Path) -> tuple[bytes, int]:
    if not file.is_file():
        raise FileNotFoundError(ENOENT, "it is a folder" if file.is_dir() else "there is no such file")
    with file.open("rb") as opened:
        total = opened.seek(0, 2)
        opened.seek(0)
        length = int.from_bytes(opened.read(LENGTH_BYTES), "little")
        if total < LENGTH_BYTES:
            raise _UntrueError(f"it has {total} bytes")
        if length > total - LENGTH_BYTES:
            raise _UntrueError(f"its header claims {length} bytes, the file has {total}")
        if length > LONGEST_HEADER:
            raise _UntrueError(f"its header has {length} bytes, and {LONGEST_HEADER} are the most that is read")
        raw = opened.read(length)
    if sum(raw.count(mark) for mark in (b'"', b"[", b"{", b",")) > MOST_MARKS:
        raise _UntrueError(f"its header has {length} bytes of more entries than any LoRA")
    return raw, total


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twin = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise _UntrueError(f"its header says {shown(twin)} twice")
    return found


def _checked(contents: object, total: int, room: int) -> FileHeader:
    if not isinstance(contents, dict):
        raise _UntrueError("its header is not a table")
    metadata = contents.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _UntrueError("its metadata is not text")
    tensors = {name: _entry(name, described) for name, described in contents.items()}
    _check_places(tensors, room)
    return FileHeader(tensors=tensors, metadata=metadata, bytes=total)


def _entry(name: str, described: object) -> Entry:
    if not isinstance(described, dict) or set(described) != {"dtype", "shape", "data_offsets"}:
        raise _UntrueError(f"{shown(name)} is not described as a tensor")
    dtype, shape, offsets = described["dtype"], described["shape"], described["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _UntrueError(f"{shown(name)} has an unknown number format, {shown(str(dtype))}")
    if not _counts(shape) or len(shape) > MOST_DIMENSIONS or not _counts(offsets) or len(offsets) != 2:
        raise _UntrueError(f"{shown(name)} has an impossible shape or place")
    if len(shape) > 1 and not prod(shape):
        raise _UntrueError(f"{shown(name)} is {list(shape)}, which is nothing")
    entry = Entry(dtype=dtype, shape=tuple(shape), start=offsets[0], end=offsets[1])
    if (entry.end - entry.start) * 8 != prod(shape) * BITS[dtype]:
        raise _UntrueError(f"{shown(name)} has {entry.end - entry.start} bytes, which is not {dtype} {list(shape)}")
    return entry


def _counts(value: object) -> bool:
    return isinstance(value, list) and all(type(number) is int and 0 <= number <= LARGEST_SIDE for number in value)


def _check_places(tensors: Mapping[str, Entry], room: int) -> None:
    """Every byte after the header belongs to exactly one tensor."""
    places = sorted((entry.start, entry.end) for entry in tensors.values())
    if any(one[1] != other[0] for one, other in pairwise([(0, 0), *places])):
        raise _UntrueError("its tensors overlap or leave gaps")
    end = places[-1][1] if places else 0
    if end != room:
        raise _UntrueError(f"its tensors need {end} bytes, the file has {room} for them")
