"""What finding the samples of a folder takes, and whether memory stays flat as folders grow.

    python -m benchmarks.sources            # prints the table
    python -m benchmarks.sources --write    # and keeps it in benchmarks/results/sources.md

Seconds are taken in one turn and memory in another: to count every allocation takes time of its own.
"""

import argparse
import os
import tracemalloc
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

from benchmarks.ground import table
from flux_lora.config.data import SourceConfig
from flux_lora.data.sources.find import find
from flux_lora.data.sources.source import Found, SourceOptions

RESULT = Path(__file__).parent / "results" / "sources.md"
COUNTS = (100, 1_000, 10_000, 100_000)
IN_A_FOLDER = 1_000
CAPTION = "a photo of a zubo mug on a wooden table beside a window, number {number}"
COLUMNS = ("samples", "s", "held, MiB", "peak, MiB", "held, KiB a sample", "peak, KiB a sample")

NOTE = f"""\
A sample is an empty .jpg with a caption of {len(CAPTION)} letters in a .txt beside it, {IN_A_FOLDER:,} of them in each
folder; *flat*, all of them in one. Nothing is decoded. *Held* is what the list of samples weighs when it is ready,
*peak* what there was at most on the way, both as Python counts its allocations; s is processor time."""


@dataclass(frozen=True)
class Cost:
    """What one listing takes."""

    seconds: float
    held: int
    """Bytes."""
    peak: int
    """Bytes."""


def lay_out(top: Path, count: int, *, flat: bool) -> SourceConfig:
    """That many images, each with its caption."""
    for number in range(count):
        folder = top if flat else top / f"day_{number // IN_A_FOLDER:03}"
        if not number or (not flat and number % IN_A_FOLDER == 0):
            folder.mkdir(parents=True)
        (folder / f"IMG_{number:06}.jpg").touch()
        (folder / f"IMG_{number:06}.txt").write_text(CAPTION.format(number=number))
    return SourceConfig(path=str(top))


def cost_of(source: SourceConfig, count: int) -> Cost:
    """Seconds in one turn, memory in another."""
    began = process_time()
    read(source, count)
    seconds = process_time() - began
    tracemalloc.start()
    found = read(source, count)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.samples, "they are held while memory is counted"
    return Cost(seconds, held, peak)


def read(source: SourceConfig, count: int) -> Found:
    """What the folder holds: all of it."""
    found = find([source], SourceOptions())
    assert len(found.samples) == count, "nothing is left out"
    return found


def row_of(count: int, cost: Cost, *, flat: bool) -> tuple[str, ...]:
    """One row of the table."""
    sizes = (f"{cost.held / 2**20:.1f}", f"{cost.peak / 2**20:.1f}")
    each = (f"{cost.held / 2**10 / count:.2f}", f"{cost.peak / 2**10 / count:.2f}")
    return (f"{count:,}{' flat' if flat else ''}", f"{cost.seconds:.2f}", *sizes, *each)


def main() -> None:
    """Print the table, and keep it if asked to."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--write", action="store_true")
    write = asked.parse_args().write
    rows = []
    for count, flat in (*((count, False) for count in COUNTS), (COUNTS[-1], True)):
        with TemporaryDirectory() as scratch:
            source = lay_out(Path(scratch) / "photos of a summer", count, flat=flat)
            rows.append(row_of(count, cost_of(source, count), flat=flat))
            print(*rows[-1], sep="\t", flush=True)
    page = f"# Finding samples\n\n{table(COLUMNS, rows)}\n\n{NOTE}\n\nMeasured on {os.cpu_count()} cores.\n"
    print(f"\n{page}")
    if write:
        RESULT.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
