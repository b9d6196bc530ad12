"""What came out of a shard or a table when it was last read, so that one that has not changed is not unpacked again.

A file is taken for unchanged if its path, size and both its times are the same, and what came out of it is used if
every picture of it is still there, whole. Anything else only costs unpacking.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple
from hashlib import sha256
from os import getpid
from pathlib import Path
from typing import Any

from flux_lora.data.box import Box
from flux_lora.data.sources.rows import Row
from flux_lora.data.sources.source import Columns
from flux_lora.data.sources.unpacked import UnpackedFile, UnpackedRow, unpack_row

Reads = Callable[[Path, Columns], Iterator[Row]]

INDEX = "read"
"""The folder, among the kept pictures, of what was read."""
READING = "1"
"""Raise it when a file would be read otherwise than before."""
SETTLED_NS = 2_000_000_000
"""A file may be written twice within one tick of its clock. One changed less than this long ago is not yet trusted."""


def unpack(file: Path, reads: Reads, columns: Columns, folder: Path) -> list[UnpackedRow]:
    """The rows of a file with their pictures in the folder: as they are known, or else read."""
    look = _look(file, columns)
    index = folder / INDEX / f"{look}.json"
    known = _remembered(index)
    if known is not None:
        return known
    kept = [unpack_row(row, folder) for row in reads(file, columns)]
    read_to_its_end = all(each.where for each in kept)
    if look and read_to_its_end and look == _look(file, columns):
        _remember(index, kept)
    return kept


def _look(file: Path, columns: Columns) -> str:
    """How the file looks from outside, and how it is read; empty where that cannot be relied on."""
    try:
        seen = file.stat()
    except OSError:
        return ""
    if time.time_ns() - max(seen.st_mtime_ns, seen.st_ctime_ns) < SETTLED_NS:
        return ""
    look = (READING, str(file.resolve()), seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, astuple(columns))
    return sha256(repr(look).encode()).hexdigest()[:32]


def _remember(index: Path, kept: Sequence[UnpackedRow]) -> None:
    """A disk that is full costs the next run its time, and this one nothing."""
    half_written = index.with_name(f"{index.name}.{getpid()}.partial")
    try:
        index.parent.mkdir(parents=True, exist_ok=True)
        half_written.write_text(json.dumps([astuple(each) for each in kept]), encoding="utf-8")
        half_written.replace(index)
    except OSError:
        half_written.unlink(missing_ok=True)


def _remembered(index: Path) -> list[UnpackedRow] | None:
    try:
        kept = [_parsed(entry) for entry in json.loads(index.read_bytes())]
        files = [file for each in kept for file in (each.picture, each.mask) if file]
        whole = all(Path(file.path).stat().st_size == file.size for file in files)
    except (OSError, ValueError, TypeError):
        return None
    return kept if whole else None


def _parsed(entry: Sequence[Any]) -> UnpackedRow:
    where, problem, texts, encoding, unread, picture, mask, box = entry
    return UnpackedRow(
        where,
        problem,
        tuple(texts),
        encoding,
        tuple(unread),
        picture=UnpackedFile(*picture) if picture else None,
        mask=UnpackedFile(*mask) if mask else None,
        box=Box(*box) if box else None,
    )
