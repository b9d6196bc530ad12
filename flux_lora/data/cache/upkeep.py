"""What the cache holds, whether it is sound, and what nobody needs any more."""

import json
import time
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flux_lora.data.cache.entries import ENDING, HALF_WRITTEN, LATENT, MASK, TEXT, problem_of
from flux_lora.data.cache.glances import INDEX, prune_index
from flux_lora.errors import RunError

KINDS = {LATENT: "latents", TEXT: "texts", MASK: "masks", HALF_WRITTEN: "half written", INDEX: "index"}
NAMING = ("latent", "mask", "texts", "plains")
"""Keys of a manifest's lines that hold names of entries."""
REMEDY = "prepare that run again, or delete its folder; nothing was taken away"
YOUNG_SECONDS = 3600
"""What is younger may belong to a run that is being prepared just now and has not yet named it."""


@dataclass(frozen=True)
class Holding:
    """How much there is of one kind."""

    kind: str
    files: int
    bytes: int


@dataclass(frozen=True)
class Damage:
    """One entry that cannot be relied on."""

    file: Path
    problem: str


@dataclass(frozen=True)
class Pruned:
    """What was taken away, and what was left only because it is young."""

    files: int
    bytes: int
    young: int


def holdings(folder: Path) -> tuple[Holding, ...]:
    """Files and bytes by kind. Nothing is opened."""
    sizes: Mapping[str, list[int]] = {kind: [] for kind in KINDS}
    for file in cache_files(folder):
        sizes[_kind(file)].append(file.stat().st_size)
    return tuple(Holding(KINDS[kind], len(each), sum(each)) for kind, each in sizes.items())


def damages(folder: Path, told: Callable[[int, int, str], None]) -> Iterator[Damage]:
    """Every entry is opened and every number looked at; `told` hears (done, total, name)."""
    entries = [file for file in cache_files(folder) if file.suffix == ENDING]
    for done, file in enumerate(entries, start=1):
        problem = problem_of(file)
        if problem:
            yield Damage(file, problem)
        told(done, len(entries), file.name)


def prune(folder: Path, needed: Container[str], *, young_seconds: float = YOUNG_SECONDS) -> Pruned:
    """Take away half-written files and entries that are not needed, but for young ones."""
    unneeded = [file for file in cache_files(folder) if file.name != INDEX and file.stem not in needed]
    before = time.time() - young_seconds
    old = [file for file in unneeded if file.stat().st_mtime < before]
    freed = sum(file.stat().st_size for file in old)
    for file in old:
        file.unlink(missing_ok=True)
    if (folder / INDEX).is_file():
        prune_index(folder, frozenset(file.stem for file in cache_files(folder)))
    return Pruned(files=len(old), bytes=freed, young=len(unneeded) - len(old))


def named_in(manifest: Path) -> frozenset[str]:
    """The entries that a run's manifest names."""
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
    """The files that are the cache's own, in order. Anything else in the folder is left alone."""
    if not folder.is_dir():
        raise RunError(f"{folder} is not a folder", fix="give run=<run folder>, or folder=<cache folder>")
    return sorted(file for file in folder.iterdir() if _kind(file))


def _kind(file: Path) -> str:
    """Which of KINDS the file is; empty for a file of somebody else's."""
    kind = next((kind for kind in (LATENT, TEXT, MASK, INDEX) if file.name.startswith(kind)), "")
    if kind and file.suffix == HALF_WRITTEN:
        return HALF_WRITTEN
    return kind if file.name == INDEX or file.suffix == ENDING else ""
