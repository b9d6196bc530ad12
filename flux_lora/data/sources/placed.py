"""Files that are found by their place: a folder and a name without its ending.

Paths are text where there is one for each file: as `Path` each would weigh several times as much.
"""

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

StemPlace = str
"""A file's path without its ending; a caption has the place of its picture."""


@dataclass(frozen=True)
class SiblingFiles:
    """Files of a few endings, found by place."""

    files: Collection[str]
    endings: Sequence[str]
    """Those that the files have; a file with an earlier one comes first at its place."""

    def at(self, place: StemPlace) -> list[str]:
        """The files of that place, in the order of their endings."""
        return [file for ending in self.endings if (file := place + ending) in self.files]


def sibling_files(files: Iterable[str], *, first: Sequence[str] = ()) -> SiblingFiles:
    """Files by place. The endings in `first` come first, in that order, in capitals or not."""
    kept = frozenset(files)
    ranks = {ending: rank for rank, ending in enumerate(first)}
    endings = {file.removeprefix(stem_place(file)) for file in kept}
    return SiblingFiles(kept, sorted(endings, key=lambda ending: (ranks.get(ending.lower(), len(ranks)), ending)))


def stem_place(file: str) -> StemPlace:
    """Where a file is and what it is called."""
    place, _, ending = file.rpartition(".")
    return place if place and os.sep not in ending else file


def ending_of(file: str) -> str:
    """In small letters, with its dot."""
    return file.removeprefix(stem_place(file)).lower()


def file_name(path: str) -> str:
    """Of a file with its ending, or of a folder."""
    return path.rpartition(os.sep)[2]


def parent_folder(path: str) -> str:
    """Where it is; nothing for what lies in the working folder."""
    return path.rpartition(os.sep)[0]
