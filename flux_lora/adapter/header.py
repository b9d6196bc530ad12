"""Read what a safetensors file says of itself, trusting none of it.

A file from a stranger may be cut short, lie about its sizes or not be safetensors at all.
Whatever it is, the answer is a FileHeader that is true of the bytes, or an AdapterFileError.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

from flux_lora.errors import AdapterFileError

LENGTH_BYTES = 8
LONGEST_HEADER = 100_000_000
"""The format's own limit, in bytes."""
MOST_DIMENSIONS = 8
LARGEST_SIDE = 2**48
BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8,
    "U16": 16, "I16": 16, "F16": 16, "BF16": 16,
    "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64,
}  # fmt: skip
METADATA = "__metadata__"


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
        contents = json.loads(raw.decode(), object_pairs_hook=_no_twins)
        return _checked(contents, total, total - LENGTH_BYTES - len(raw))
    except _UntrueError as untrue:
        problem = str(untrue)
    except (ValueError, RecursionError):
        problem = "its header is not JSON"
    except OSError as error:
        raise AdapterFileError(
            f"{file} cannot be read: {error.strerror}", fix="give the path of a .safetensors file"
        ) from error
    raise AdapterFileError(
        f"{file} is not a whole safetensors file: {problem}", fix="fetch or export it again; it is damaged"
    )


def _raw_header(file: Path) -> tuple[bytes, int]:
    with file.open("rb") as opened:
        total = opened.seek(0, 2)
        opened.seek(0)
        length = int.from_bytes(opened.read(LENGTH_BYTES), "little")
        if total < LENGTH_BYTES:
            raise _UntrueError(f"it has {total} bytes")
        if length > min(LONGEST_HEADER, total - LENGTH_BYTES):
            raise _UntrueError(f"its header claims {length} bytes, the file has {total}")
        return opened.read(length), total


def _no_twins(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _UntrueError("its header says one thing twice")
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
        raise _UntrueError(f"{name!r} is not described as a tensor")
    dtype, shape, offsets = described["dtype"], described["shape"], described["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise _UntrueError(f"{name!r} has an unknown number format, {str(dtype)[:20]!r}")
    if not _counts(shape) or len(shape) > MOST_DIMENSIONS or not _counts(offsets) or len(offsets) != 2:
        raise _UntrueError(f"{name!r} has an impossible shape or place")
    entry = Entry(dtype=dtype, shape=tuple(shape), start=offsets[0], end=offsets[1])
    if (entry.end - entry.start) * 8 != prod(shape) * BITS[dtype]:
        raise _UntrueError(f"{name!r} has {entry.end - entry.start} bytes, which is not {dtype} {list(shape)}")
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
