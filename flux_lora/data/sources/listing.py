"""The entries of a folder by kind, and files that share a stem. Nothing is opened.

Paths of files are str: as `Path` they would take several times the memory.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from unicodedata import normalize

StemPlace = str
"""A file's path without its ending; a sidecar file has the same as its image."""


@dataclass(frozen=True)
class SiblingFiles:
    """Files that can be looked up by stem."""

    files: Collection[str]
    endings: Sequence[str]
    """All endings of the files, in order of precedence."""
    composed: Mapping[str, str]
    """Files whose names have letters outside ASCII, by name with accents composed (NFC): the disk of a Mac takes them
    apart, and an editor writes them whole."""

    def at(self, place: StemPlace) -> list[str]:
        """The files of a stem, in the order of their endings."""
        found = [file for ending in self.endings if (file := place + ending) in self.files]
        if found or place.isascii():
            return found
        whole = normalize("NFC", place)
        return [file for ending in self.endings if (file := self.composed.get(whole + ending))]


def sibling_files(files: Iterable[str], *, first: Sequence[str] = ()) -> SiblingFiles:
    """Files by stem. The endings in `first` take precedence, in that order and in either case."""
    kept = frozenset(files)
    ranks = {ending: rank for rank, ending in enumerate(first)}
    endings = {file.removeprefix(stem_place(file)) for file in kept}
    composed = {normalize("NFC", file): file for file in sorted(kept) if not file.isascii()}
    return SiblingFiles(
        kept,
        sorted(endings, key=lambda ending: (ranks.get(ending.lower(), len(ranks)), ending)),
        composed,
    )


def stem_place(file: str) -> StemPlace:
    """The path without its ending."""
    place, _, ending = file.rpartition(".")
    return place if place and os.sep not in ending else file


def ending_of(file: str) -> str:
    """The ending in lower case, with its dot."""
    return file.removeprefix(stem_place(file)).lower()


def file_name(path: str) -> str:
    """The last part of a path, with its ending."""
    return path.rpartition(os.sep)[2]


def parent_folder(path: str) -> str:
    """The path of the folder; empty for the working folder."""
    return path.rpartition(os.sep)[0]


def pair_by_stem(
    files: Sequence[str],
    folder: Path,
    images: Sequence[str],
    roots: Sequence[Path],
    *,
    owner: Callable[[str], StemPlace],
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each file of a folder that belongs to images by name, with them: those at the same relative path below one of
    `roots`, or else those of the only stem with its name. Where images in two folders have that name, neither is taken.

    `owner` takes a file's path inside the folder to the stem of its image.
    """
    by_place: dict[StemPlace, list[str]] = defaultdict(list)
    by_name: dict[str, set[StemPlace]] = defaultdict(set)
    for image in images:
        by_place[stem_place(image)].append(image)
        by_name[Path(image).stem].add(stem_place(image))
    for file in files:
        relative = owner(str(Path(file).relative_to(folder)))
        exact = [image for root in roots for image in by_place.get(str(root / relative), [])]
        places = by_name.get(relative, set())
        anywhere = by_place[next(iter(places))] if not parent_folder(relative) and len(places) == 1 else []
        yield file, tuple(exact or anywhere)


LEFT_ALONE = frozenset(("__macosx", "__pycache__", "cache", "held_out", "masks"))
CACHE_TAG = "CACHEDIR.TAG"
"""The file by which programs mark a folder as a cache (bford.info/cachedir)."""
SYSTEM_FILES = frozenset(("desktop.ini", "thumbs.db"))


class EntryKind(Enum):
    """Kind of an entry of a folder."""

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
    """A sub-folder that is not entered, because the listing is not recursive."""
    odd_name = auto()
    """Its name is not utf-8, so a report cannot print it."""


Listing = Mapping[EntryKind, list[str]]


def list_folder(folder: Path, *, recursive: bool, apart: Collection[Path] = ()) -> Listing:
    """The entries of a folder by kind, sorted: files of a folder before those of its sub-folders.

    The folder itself is read whatever its name. Folders in `apart` (resolved) are left alone, and so is a folder that
    a link leads back to.
    """
    listing: dict[EntryKind, list[str]] = defaultdict(list)
    for kind, path in _walk(str(folder), recursive, apart):
        listing[kind].append(path)
    return listing


def _walk(top: str, recursive: bool, apart: Collection[Path]) -> Iterator[tuple[EntryKind, str]]:
    visited: set[tuple[int, int]] = set()
    pending = [top]
    while pending:
        folder = pending.pop()
        try:
            status = Path(folder).stat()
            entries = _entries(folder)
        except OSError:
            yield EntryKind.closed, folder
            continue
        if (status.st_dev, status.st_ino) in visited or (folder != top and _is_left_alone(folder, apart, entries)):
            yield EntryKind.left_alone, folder
            continue
        visited.add((status.st_dev, status.st_ino))
        prefix = "" if folder == os.curdir else folder.rstrip(os.sep) + os.sep
        yield from ((kind, prefix + name) for name, kind in entries if kind is not EntryKind.folder)
        folders = [prefix + name for name, kind in entries if kind is EntryKind.folder]
        if recursive:
            pending += reversed(folders)
        else:
            yield from (
                (EntryKind.left_alone if _has_reserved_name(path) else EntryKind.below, path) for path in folders
            )


def _entries(folder: str) -> list[tuple[str, EntryKind]]:
    """Names and kinds, sorted by name."""
    with os.scandir(folder) as scanned:
        return sorted((entry.name, _kind(entry)) for entry in scanned)


def _is_left_alone(folder: str, apart: Collection[Path], entries: Sequence[tuple[str, EntryKind]]) -> bool:
    tagged = any(name == CACHE_TAG for name, _ in entries)
    return tagged or _has_reserved_name(folder) or bool(apart and Path(folder).resolve() in apart)


def _has_reserved_name(folder: str) -> bool:
    name = file_name(folder).casefold()
    return name in LEFT_ALONE or name.endswith("_cache")


def is_left_alone(name: str) -> bool:
    """Whether a folder of this name holds no photos, unless it is named itself: held_out, masks, caches."""
    return name.startswith(".") or _has_reserved_name(name)


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
