"""Maintenance of the cache: count its files, verify them, prune what no run needs."""

import json
import time
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flux_lora.atomic import HALF_WRITTEN
from flux_lora.data.cache.entries import ANSWER, ENDING, LATENT, MASK, TEXT, problem_of
from flux_lora.data.cache.index import INDEX, prune_index
from flux_lora.data.progress import Progress
from flux_lora.errors import RunError

KINDS = {
    LATENT: "latents",
    TEXT: "texts",
    MASK: "masks",
    ANSWER: "base answers",
    HALF_WRITTEN: "half written",
    INDEX: "index",
}
NAMING = ("latent", "mask", "texts", "plains", "references")
"""Keys of a manifest's lines that hold names of entries."""
YOUNG_SECONDS = 3600
"""Younger files may belong to a run that is being prepared and has not written its manifest yet."""
ANSWER_SECONDS = 7 * 24 * 3600
"""Answers of the base are in no manifest: a run makes them before its first step, and reads them to its last."""


@dataclass(frozen=True)
class Holding:
    """Number and size of the files of one kind."""

    kind: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Damage:
    """One damaged entry."""

    file: Path
    problem: str


@dataclass(frozen=True)
class Pruned:
    """Files and bytes deleted, and the number of unneeded files kept because they are young."""

    files: int
    bytes: int
    young: int


def holdings(folder: Path) -> tuple[Holding, ...]:
    """Files and bytes by kind, without opening any."""
    sizes: Mapping[str, list[int]] = {kind: [] for kind in KINDS}
    for file in cache_files(folder):
        sizes[_kind(file)].append(file.stat().st_size)
    return tuple(Holding(KINDS[kind], len(found), sum(found)) for kind, found in sizes.items())


def damages(folder: Path, progress: Progress) -> Iterator[Damage]:
    """Damaged entries. Every entry is read whole."""
    entries = [file for file in cache_files(folder) if file.suffix == ENDING]
    for done, file in enumerate(entries, start=1):
        problem = problem_of(file)
        if problem:
            yield Damage(file, problem)
        progress(done, len(entries), file.name)


def prune(folder: Path, needed: Container[str], *, young_seconds: float = YOUNG_SECONDS) -> Pruned:
    """Delete half-written files and entries whose names are not `needed`, except young ones.

    A run that goes on makes the answers of the base again that it lacks.
    """
    unneeded = [file for file in cache_files(folder) if file.name != INDEX and file.stem not in needed]
    now = time.time()
    young = {ANSWER: max(young_seconds, ANSWER_SECONDS)}
    old = [file for file in unneeded if file.stat().st_mtime < now - young.get(_kind(file), young_seconds)]
    freed = sum(file.stat().st_size for file in old)
    for file in old:
        file.unlink(missing_ok=True)
    if (folder / INDEX).is_file():
        prune_index(folder, frozenset(file.stem for file in cache_files(folder)))
    return Pruned(files=len(old), bytes=freed, young=len(unneeded) - len(old))


def named_in(manifest: Path) -> frozenset[str]:
    """Names of the entries in a run's manifest. RunError where it cannot be read, or an older version wrote it."""
    try:
        lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line]
    except ValueError as error:
        raise RunError(
            f"{manifest} cannot be read: {error}", fix="prepare that run again, or delete its folder"
        ) from error
    if not any(LATENT in line for line in lines):
        raise RunError(
            f"{manifest} does not say which entries its run needs: an older version wrote it",
            fix="prepare that run again, or delete its folder; nothing was taken away",
        )
    values = [line.get(key) for line in lines for key in NAMING]
    return frozenset(name for value in values for name in ([value] if isinstance(value, str) else value or []))


def cache_files(folder: Path) -> list[Path]:
    """The cache's own files, sorted; other files in the folder are ignored. RunError where there is no folder."""
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder", fix="give run=<run folder>, or folder=<cache folder>")
    return sorted(file for file in folder.iterdir() if _kind(file))


def _kind(file: Path) -> str:
    """Which of KINDS the file is; empty for a file that is not the cache's."""
    kind = next((kind for kind in (LATENT, TEXT, MASK, ANSWER, INDEX) if file.name.startswith(kind)), "")
    if kind and file.suffix == HALF_WRITTEN:
        return HALF_WRITTEN
    return kind if file.name == INDEX or file.suffix == ENDING else ""
