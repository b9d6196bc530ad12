"""Which picture file came to which entries, and what of it crops must keep, so that it is not decoded again.

A file is taken for unchanged if its path, size and both its times are the same; anything else only costs a decoding,
for entries are found by pixels. The index only grows, line by line: one cut short by a crash is passed over,
and several processes can add to it at once.
"""

import json
import os
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import PIL

from flux_lora.data.box import Box
from flux_lora.data.cache.entries import HALF_WRITTEN

INDEX = "pictures.jsonl"
DECODING = "1"
"""Raise it when a file would be decoded, cut or weighed otherwise than before."""
SETTLED_NS = 2_000_000_000
"""A file may be written twice within one tick of its clock. One changed less than this long ago is not yet trusted."""


@dataclass(frozen=True)
class IndexEntry:
    """What a picture came to when it was last looked at."""

    latent: str
    mask: str = ""
    """Empty where the picture has none."""


def signature(files: Sequence[Path], *settings: object) -> str:
    """How the files look from outside, and all that is done to them; empty where that cannot be relied on."""
    try:
        looks = [_look(file) for file in files]
    except OSError:
        return ""
    if not all(looks):
        return ""
    return sha256(repr((DECODING, PIL.__version__, looks, settings)).encode()).hexdigest()[:32]


def read_index(folder: Path) -> Mapping[str, IndexEntry]:
    """Everything that is known, by signature."""
    try:
        lines = (folder / INDEX).read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    return dict(filter(None, map(_parsed, lines)))


def add_index_entry(folder: Path, each: str, glance: IndexEntry) -> None:
    """Add to what is known. A line begins with its break, so that half a line before it spoils nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / INDEX).open("ab", buffering=0) as index:
        index.write(_line(each, glance).encode())


def read_subject_boxes(folder: Path) -> Mapping[str, Box | None]:
    """What crops must keep of each file, by signature; None where nothing of it stands out."""
    try:
        lines = (folder / INDEX).read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    return dict(filter(None, map(_parsed_part, lines)))


def add_subject_boxes(folder: Path, found: Mapping[str, Box | None]) -> None:
    """Add to what is known, in the same index."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / INDEX).open("ab", buffering=0) as index:
        index.write("".join(map(_part_line, found.items())).encode())


def prune_index(folder: Path, kept: Container[str]) -> None:
    """Keep only what came to these entries, and every part. Written beside, then renamed."""
    known, parts = read_index(folder), read_subject_boxes(folder)
    lines = [_line(each, glance) for each, glance in known.items() if glance.latent in kept]
    lines += map(_part_line, parts.items())
    half_written = folder / f"{INDEX}{HALF_WRITTEN}"
    half_written.write_text("".join(lines), encoding="utf-8")
    half_written.replace(folder / INDEX)


def _look(file: Path) -> tuple[str, int, int, int] | None:
    seen = file.stat()
    if time.time_ns() - seen.st_mtime_ns < SETTLED_NS:
        return None
    return os.path.abspath(file), seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns  # noqa: PTH100 (20 times faster)


def _line(each: str, glance: IndexEntry) -> str:
    return "\n" + json.dumps([each, glance.latent, glance.mask])


def _part_line(of_file: tuple[str, Box | None]) -> str:
    each, box = of_file
    return "\n" + json.dumps([each, [box.left, box.top, box.right, box.bottom] if box else None])


def _parsed_part(line: bytes) -> tuple[str, Box | None] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    match found:
        case [str(each), None]:
            return each, None
        case [
            str(each),
            [int() | float() as left, int() | float() as top, int() | float() as right, int() | float() as bottom],
        ]:
            return each, Box(left, top, right, bottom)
    return None


def _parsed(line: bytes) -> tuple[str, IndexEntry] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    match found:
        case [str(each), str(latent), str(mask)]:
            return each, IndexEntry(latent, mask)
    return None
