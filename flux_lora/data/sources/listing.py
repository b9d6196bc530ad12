"""What lies in a folder. Nothing is opened, and nothing is left out without a word."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import Enum, auto
from pathlib import Path

from flux_lora.data.sources.placed import file_name

LEFT_ALONE = frozenset(("__macosx", "__pycache__", "cache", "held_out", "masks"))
CACHE_TAG = "CACHEDIR.TAG"
"""The file by which programs mark a folder as a cache (bford.info/cachedir)."""
SYSTEM_FILES = frozenset(("desktop.ini", "thumbs.db"))


class EntryKind(Enum):
    """What something in a folder is."""

    file = auto()
    folder = auto()
    hidden = auto()
    lost = auto()
    """A link that leads nowhere, a pipe, a device."""
    closed = auto()
    """A folder that may not be listed."""
    left_alone = auto()
    """held_out, masks, a cache, or another source's folder."""
    below = auto()
    """A folder that is not entered, since folders inside folders are not wanted."""
    odd_name = auto()
    """Its name is not utf-8, so no report could print it."""


Listing = Mapping[EntryKind, list[str]]


def list_folder(folder: Path, *, recursive: bool, apart: Collection[Path] = ()) -> Listing:
    """All that is in a folder by kind, sorted: files of a folder before those of its sub-folders.

    The folder itself is read whatever its name. Folders in `apart` (resolved) are left alone.
    """
    listing: dict[EntryKind, list[str]] = defaultdict(list)
    for kind, path in _walk(str(folder), recursive, apart):
        listing[kind].append(path)
    return listing


def _walk(top: str, recursive: bool, apart: Collection[Path]) -> Iterator[tuple[EntryKind, str]]:
    been: set[tuple[int, int]] = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            place = Path(folder).stat()
            entries = _entries(folder)
        except OSError:
            yield EntryKind.closed, folder
            continue
        if (place.st_dev, place.st_ino) in been or (folder != top and _is_passed_by(folder, apart, entries)):
            yield EntryKind.left_alone, folder
            continue
        been.add((place.st_dev, place.st_ino))
        within = "" if folder == os.curdir else folder.rstrip(os.sep) + os.sep
        yield from ((kind, within + name) for name, kind in entries if kind is not EntryKind.folder)
        inner = [within + name for name, kind in entries if kind is EntryKind.folder]
        if recursive:
            waiting += reversed(inner)
        else:
            yield from ((EntryKind.left_alone if _is_named_apart(path) else EntryKind.below, path) for path in inner)


def _entries(folder: str) -> list[tuple[str, EntryKind]]:
    """Names and kinds, by name."""
    with os.scandir(folder) as scanned:
        return sorted((entry.name, _kind(entry)) for entry in scanned)


def _is_passed_by(folder: str, apart: Collection[Path], entries: Sequence[tuple[str, EntryKind]]) -> bool:
    tagged = any(name == CACHE_TAG for name, _ in entries)
    return tagged or _is_named_apart(folder) or bool(apart and Path(folder).resolve() in apart)


def _is_named_apart(folder: str) -> bool:
    name = file_name(folder).casefold()
    return name in LEFT_ALONE or name.endswith("_cache")


def _kind(entry: "os.DirEntry[str]") -> EntryKind:
    if entry.name.startswith(".") or entry.name.casefold() in SYSTEM_FILES:
        return EntryKind.hidden
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return EntryKind.odd_name
    try:
        if entry.is_dir():
            return EntryKind.folder
        return EntryKind.file if entry.is_file() else EntryKind.lost
    except OSError:  # a link that leads to itself
        return EntryKind.lost
