"""A path with braces and globs -> the paths it stands for."""

import re
from collections.abc import Iterator, Sequence
from glob import has_magic
from itertools import chain
from pathlib import Path

from flux_lora.data.sources.hub import PREFIX
from flux_lora.errors import DataError

BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
MOST_PLACES = 100_000


def expand_pattern(path: str) -> list[str]:
    """The places in order. What is there under just this name is meant itself, whatever signs are in it."""
    if path.startswith(PREFIX) or Path(path).expanduser().exists():
        return [path]
    expanded = list(_braces(path))
    found = [_globbed(each) if has_magic(each) else [each] for each in expanded]
    empty = next((each for each, matches in zip(expanded, found, strict=True) if not matches), "")
    if empty:
        raise DataError(f"{empty} matches no file", fix="correct the pattern; in a shell, put quotes around it")
    return list(chain.from_iterable(found))


def _globbed(pattern: str) -> list[str]:
    path = Path(pattern).expanduser()
    return sorted(map(str, Path(path.anchor).glob(str(path.relative_to(path.anchor)))))


def _braces(path: str) -> Iterator[str]:
    """000{0..3}.tar and {front,back} as a shell reads them, zeros kept."""
    match = BRACES.search(path)
    if not match:
        yield path
        return
    first, last, choices = match.groups()
    words = choices.split(",") if choices else _numbers(first, last, path=path)
    for word in words:
        yield from _braces(path[: match.start()] + word + path[match.end() :])


def _numbers(first: str, last: str, *, path: str) -> Sequence[str]:
    if int(last) < int(first):
        raise DataError(f"{path} counts from {first} down to {last}", fix="put the smaller number first")
    if int(last) - int(first) >= MOST_PLACES:
        raise DataError(f"{path} stands for over {MOST_PLACES:,} files", fix="name fewer in one source")
    return [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]
