"""Index of the cache: image file -> entries and subject box, so that an unchanged file is not decoded again.

A file counts as unchanged if its path, size and both its times are the same; otherwise it is only decoded once more,
for entries are named by pixels. The index is append-only: a line cut short by a crash is skipped, and several
processes can add to it at once.
"""

import json
import os
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import PIL

from flux_lora.atomic import write_text
from flux_lora.data.bucketing.plan import Keep
from flux_lora.data.samples import Box, Sample

INDEX = "pictures.jsonl"
DECODING_VERSION = "1"
"""Raise it when a file would be decoded, cropped or weighted otherwise than before."""
BOX_VERSION = "1"
"""Raise it when another subject box would be detected than before."""
SETTLED_NS = 2_000_000_000
"""Nanoseconds. A file may be written twice within one tick of its clock, so one changed less than this long ago has no
signature yet."""


@dataclass(frozen=True)
class IndexEntry:
    """The entries of an image."""

    latent: str
    mask: str = ""
    """Empty where the image has none."""
    references: tuple[str, ...] = ()
    """Latents of the images that it is made from."""

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(name for name in (self.latent, self.mask, *self.references) if name)


def signature(files: Sequence[Path], *settings: object) -> str:
    """Key of the index: a digest of the files' stats and of all settings that the result depends on.

    Empty where a file is missing or changed too recently.
    """
    try:
        stats = [_stat(file) for file in files]
    except OSError:
        return ""
    if not all(stats):
        return ""
    return sha256(repr((DECODING_VERSION, PIL.__version__, stats, settings)).encode()).hexdigest()[:32]


def read_index(folder: Path) -> Mapping[str, IndexEntry]:
    """Entries by signature."""
    entries: dict[str, IndexEntry] = {}
    for line in _lines(folder):
        match line:
            case [str(key), str(latent), str(mask), *references]:
                entries[key] = IndexEntry(latent, mask, tuple(map(str, references)))
    return entries


def add_index_entry(folder: Path, key: str, entry: IndexEntry) -> None:
    """Add an image's entries under its signature."""
    _append(folder, _entry_line(key, entry))


def read_subject_boxes(folder: Path) -> Mapping[str, Box | None]:
    """Subject boxes by signature; None where nothing is salient."""
    boxes: dict[str, Box | None] = {}
    for line in _lines(folder):
        match line:
            case [str(key), None]:
                boxes[key] = None
            case [
                str(key),
                [int() | float() as left, int() | float() as top, int() | float() as right, int() | float() as bottom],
            ]:
                boxes[key] = Box(left, top, right, bottom)
    return boxes


def add_subject_boxes(folder: Path, boxes: Mapping[str, Box | None]) -> None:
    """Add subject boxes by signature, to the same index."""
    _append(folder, "".join(_box_line(key, box) for key, box in boxes.items()))


def prune_index(folder: Path, kept: Container[str]) -> None:
    """Keep the lines whose latent is in `kept`, and every subject box."""
    lines = [_entry_line(key, entry) for key, entry in read_index(folder).items() if entry.latent in kept]
    lines += [_box_line(key, box) for key, box in read_subject_boxes(folder).items()]
    write_text("".join(lines), folder / INDEX)


def _stat(file: Path) -> tuple[str, int, int, int] | None:
    """Absolute path, size, and times of modification and change; None where it changed too recently."""
    stat = file.stat()
    if time.time_ns() - stat.st_mtime_ns < SETTLED_NS:
        return None
    return os.path.abspath(file), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns  # noqa: PTH100 (20 times faster)


def _lines(folder: Path) -> Iterator[object]:
    """What each complete line of the index holds."""
    try:
        lines = (folder / INDEX).read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        yield value


def _append(folder: Path, lines: str) -> None:
    """One write. Each line begins with its break, so that half a line before it spoils nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / INDEX).open("ab", buffering=0) as index:
        index.write(lines.encode())


def _entry_line(key: str, entry: IndexEntry) -> str:
    return "\n" + json.dumps([key, entry.latent, entry.mask, *entry.references])


def _box_line(key: str, box: Box | None) -> str:
    return "\n" + json.dumps([key, [box.left, box.top, box.right, box.bottom] if box else None])


class SubjectBoxes:
    """Subject boxes, from the index or detected. New ones are kept in memory until `write`."""

    def __init__(self, folder: Path, find: Keep, *settings: str) -> None:
        """Boxes from the cache of `folder`, others by `find`, whose result depends on the files and `settings`."""
        self._known = dict(read_subject_boxes(folder))
        self._new: dict[str, Box | None] = {}
        self._find = find
        self._settings = settings

    def box_of(self, sample: Sample) -> Box | None:
        """The box that crops of the sample's image must hold; None where nothing is salient."""
        files = [sample.image, *([sample.mask] if sample.mask else [])]
        key = signature(files, BOX_VERSION, *self._settings)
        if key in self._known:
            return self._known[key]
        box = self._find(sample)
        if key:
            self._known[key] = self._new[key] = box
        return box

    def write(self, folder: Path) -> None:
        """Add the newly detected boxes to the index."""
        if self._new:
            add_subject_boxes(folder, self._new)
            self._new = {}
