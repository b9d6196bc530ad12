"""The header of a safetensors file: read without trusting it, and written.

A downloaded file may be cut short, lie about its sizes or not be safetensors at all. Reading it gives a FileHeader
that is true of the bytes, or raises an AdapterFileError.
"""

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from errno import ENOENT
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import TypeGuard

from flux_lora.errors import AdapterFileError

LENGTH_BYTES = 8
LONGEST_HEADER = 32 * 2**20
"""Bytes. The format allows three times as much; the metadata of a LoRA takes a few hundred KB."""
MOST_MARKS = 2_000_000
"""Most quotes, brackets, braces and commas in a header: 100,000 tensors and a long list of tags."""
LONGEST_NAME = 200
"""Characters of untrusted text that a message repeats."""
MOST_DIMENSIONS = 8
LARGEST_SIDE = 2**48
LARGEST_NUMBER = 1e30
BITS: Mapping[str, int] = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip
"""Bits per number, by safetensors' dtype names."""
DESCRIBED = {"dtype", "shape", "data_offsets"}
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
"""First bytes of other files that users give for a LoRA: the format, and the fix."""


@dataclass(frozen=True)
class Entry:
    """One tensor of a file; `start` and `end` are in bytes after the header."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class FileHeader:
    """The tensors and metadata of a safetensors file."""

    tensors: Mapping[str, Entry]
    metadata: Mapping[str, str]
    bytes: int
    """Size of the whole file."""


class _InvalidHeaderError(Exception):
    """What in the header cannot be true."""


def read_header(file: Path) -> FileHeader:
    """The header, checked against the file's size; an AdapterFileError says what is wrong with it."""
    try:
        raw, total = _raw_header(file)
    except _InvalidHeaderError as invalid:
        raise _refusal(file, str(invalid)) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AdapterFileError(
            f"{file} cannot be read: {reason}", fix="give the path of a .safetensors file"
        ) from error
    try:
        contents = json.loads(raw.decode(), object_pairs_hook=_without_duplicates)
        return _checked(contents, total, total - LENGTH_BYTES - len(raw))
    except _InvalidHeaderError as invalid:
        problem = str(invalid)
    except (ValueError, RecursionError):
        problem = "its header is not JSON"
    raise _refusal(file, problem)


def header_bytes(tensors: Mapping[str, Entry], metadata: Mapping[str, str]) -> bytes:
    """The length and the header of a file. The same contents give the same bytes."""
    contents: dict[str, object] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    for name, entry in in_order(tensors):
        contents[name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": (entry.start, entry.end)}
    raw = json.dumps(contents, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % LENGTH_BYTES)
    return len(raw).to_bytes(LENGTH_BYTES, "little") + raw


def in_order(tensors: Mapping[str, Entry]) -> list[tuple[str, Entry]]:
    """The tensors in the order of their bytes in the file."""
    return sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end, item[0]))


def quoted(text: str) -> str:
    """Untrusted text, quoted and cut, without characters that could move a terminal's cursor."""
    return repr(text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}…")


def printable(text: str, longest: int = LONGEST_NAME) -> str:
    """Untrusted text on one line, cut, without characters that could move a terminal's cursor."""
    cleaned = "".join(character if character.isprintable() else " " for character in text[: longest + 1])
    return cleaned if len(cleaned) <= longest else f"{cleaned[:longest]}…"


def usable_number(value: object) -> TypeGuard[int | float]:
    """Whether untrusted JSON is a finite number that a float can be: it has whole numbers of any length."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) <= LARGEST_NUMBER and math.isfinite(value)


def _refusal(file: Path, problem: str) -> AdapterFileError:
    """The error for a file that is not safetensors, or a damaged one; its first bytes say which."""
    with file.open("rb") as opened:
        first = opened.read(32)
    has_length = first[4:LENGTH_BYTES] == bytes(4)
    for start, format_name, fix in () if has_length else OTHER_FILES:
        if first.lstrip().startswith(start):
            return AdapterFileError(f"{file} is not a safetensors file but {format_name}", fix=fix)
    return AdapterFileError(f"{file} is not a whole safetensors file: {problem}", fix=DAMAGED)


def _raw_header(file: Path) -> tuple[bytes, int]:
    """The header's JSON, and the bytes of the whole file."""
    if not file.is_file():
        raise FileNotFoundError(ENOENT, "it is a folder" if file.is_dir() else "there is no such file")
    with file.open("rb") as opened:
        total = opened.seek(0, 2)
        opened.seek(0)
        length = int.from_bytes(opened.read(LENGTH_BYTES), "little")
        if total < LENGTH_BYTES:
            raise _InvalidHeaderError(f"it has {total} bytes")
        if length > total - LENGTH_BYTES:
            raise _InvalidHeaderError(f"its header claims {length} bytes, the file has {total}")
        if length > LONGEST_HEADER:
            raise _InvalidHeaderError(f"its header has {length} bytes, and {LONGEST_HEADER} are the most that is read")
        raw = opened.read(length)
    if sum(raw.count(mark) for mark in (b'"', b"[", b"{", b",")) > MOST_MARKS:
        raise _InvalidHeaderError(f"its header has {length} bytes of more entries than any LoRA")
    return raw, total


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object as a dictionary; one that has a key twice is refused."""
    table = dict(pairs)
    if len(table) < len(pairs):
        duplicate = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise _InvalidHeaderError(f"its header says {quoted(duplicate)} twice")
    return table


def _checked(contents: object, total: int, tensor_bytes: int) -> FileHeader:
    if not isinstance(contents, dict):
        raise _InvalidHeaderError("its header is not a table")
    metadata = contents.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _InvalidHeaderError("its metadata is not text")
    tensors = {name: _entry(name, described) for name, described in contents.items()}
    _check_offsets(tensors, tensor_bytes)
    return FileHeader(tensors=tensors, metadata=metadata, bytes=total)


def _entry(name: str, described: object) -> Entry:
    if not isinstance(described, dict) or described.keys() != DESCRIBED:
        raise _InvalidHeaderError(f"{quoted(name)} is not described as a tensor")
    dtype, shape, offsets = described["dtype"], described["shape"], described["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _InvalidHeaderError(f"{quoted(name)} has an unknown number format, {quoted(str(dtype))}")
    if not _are_sizes(shape) or len(shape) > MOST_DIMENSIONS or not _are_sizes(offsets) or len(offsets) != 2:
        raise _InvalidHeaderError(f"{quoted(name)} has an impossible shape or place")
    if len(shape) > 1 and not prod(shape):
        raise _InvalidHeaderError(f"{quoted(name)} is {list(shape)}, which is nothing")
    entry = Entry(dtype=dtype, shape=tuple(shape), start=offsets[0], end=offsets[1])
    if (entry.end - entry.start) * 8 != prod(shape) * BITS[dtype]:
        raise _InvalidHeaderError(
            f"{quoted(name)} has {entry.end - entry.start} bytes, which is not {dtype} {list(shape)}"
        )
    return entry


def _are_sizes(value: object) -> bool:
    if not isinstance(value, list):
        return False
    for number in value:  # noqa: SIM110  (all() takes three times as long, and there may be 100,000 tensors)
        if type(number) is not int or not 0 <= number <= LARGEST_SIDE:
            return False
    return True


def _check_offsets(tensors: Mapping[str, Entry], tensor_bytes: int) -> None:
    """Every byte after the header belongs to exactly one tensor."""
    spans = sorted((entry.start, entry.end) for entry in tensors.values())
    if any(end != start for (_, end), (start, _) in pairwise([(0, 0), *spans])):
        raise _InvalidHeaderError("its tensors overlap or leave gaps")
    end = spans[-1][1] if spans else 0
    if end != tensor_bytes:
        raise _InvalidHeaderError(f"its tensors need {end} bytes, the file has {tensor_bytes} for them")
