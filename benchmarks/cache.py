"""What the cache costs: one file an entry or shards, and a second run over a set in which nothing has changed.

    python -m benchmarks.cache            # prints the tables
    python -m benchmarks.cache --write    # and keeps them in benchmarks/results/cache.md

Times are processor time of one thread, so that a busy machine does not change them; files are in the page cache.
"""

import argparse
import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.ground import table
from flux_lora.data.bucketing.buckets import Bucket
from flux_lora.data.bucketing.crops import Box
from flux_lora.data.bucketing.plan import Prepared
from flux_lora.data.cache import Encoders, encode_all
from flux_lora.data.cache.encode import peak_bytes
from flux_lora.data.cache.entries import has_entry, read_entry, write_entry
from flux_lora.data.samples import Sample
from flux_lora.models.family import LatentDistribution, PromptEmbeds

RESULT = Path(__file__).parent / "results" / "cache.md"
SHARD = 256
"""Entries of one shard."""
READS = 2_000
SMALL = {"latent": (16, 8, 8), "t5": (8, 32)}
FULL = {"latent": (16, 128, 128), "t5": (512, 4096)}
"""What one 1024 x 1024 image and its caption take in FLUX.1-dev."""
STORES = ((20, FULL, "1024 px, full size"), (20, SMALL, "small"), (20_000, SMALL, "small"))
SETS = (20, 1_000, 20_000)
SIDE = 16

WHY = """\
One file an entry is kept: a shard is rewritten whole for one edited caption, or holds what nobody needs any more, and a
killed run would lose the shard that it was filling. At FLUX's size a file of its own costs nothing, and small ones cost
a block of the disk each."""

Shapes = dict[str, tuple[int, ...]]


def stores(count: int, shapes: Shapes, folder: Path) -> list[list[str]]:
    """One row for each way to keep `count` entries."""
    tensors: dict[str, Tensor] = {name: torch.ones(shape, dtype=torch.bfloat16) for name, shape in shapes.items()}
    order = random.Random(0).choices(range(count), k=min(READS, 20 * count))
    single, sharded = folder / "files", folder / "shards"

    def write_files() -> None:
        for number in range(count):
            write_entry(single, f"latent-{number}", tensors)

    def read_shard(number: int) -> None:
        with safe_open(sharded / f"{number // SHARD}.safetensors", "pt") as opened:
            for name in shapes:
                opened.get_tensor(f"{number}.{name}").sum()

    def read_file(number: int) -> None:
        for tensor in read_entry(single, f"latent-{number}").values():
            tensor.sum()

    written = [seconds(write_files) / count, seconds(lambda: write_shards(tensors, count, sharded)) / count]
    read = [spent(read_file, order), spent(read_shard, order)]
    looked = spent(lambda number: has_entry(single, f"latent-{number}"), order)
    sizes = [sum(file.stat().st_blocks * 512 for file in each.iterdir()) / count for each in (single, sharded)]
    return [
        ["one file an entry", milli(written[0]), milli(read[0]), milli(looked), f"{sizes[0] / 1e3:,.1f}"],
        [f"shards of {SHARD}", milli(written[1]), milli(read[1]), "", f"{sizes[1] / 1e3:,.1f}"],
    ]


def write_shards(tensors: Mapping[str, Tensor], count: int, folder: Path) -> None:
    """The same entries, many to a file."""
    folder.mkdir()
    for first in range(0, count, SHARD):
        numbers = range(first, min(count, first + SHARD))
        together = {f"{number}.{name}": tensor.clone() for number in numbers for name, tensor in tensors.items()}
        save_file(together, folder / f"{first // SHARD}.safetensors")


def second_run(count: int, folder: Path) -> list[str]:
    """First run, second run, and one after a caption was edited, over `count` images of 16 x 16."""
    prepared = listed(count, folder)
    cache = folder / "cache"

    def run(changed: Sequence[Prepared]) -> Callable[[], object]:
        return lambda: encode_all(changed, mean_colours(), cache)

    first = seconds(run(prepared))
    again = seconds(run(prepared))
    edited = [replace(prepared[0], sample=replace(prepared[0].sample, caption="edited")), *prepared[1:]]
    one_caption = seconds(run(edited))
    return [
        f"{count:,}",
        milli(first / count),
        milli(again / count),
        f"{one_caption:.2f}",
        f"{peak_bytes() / 2**20:,.0f}",
    ]


def listed(count: int, folder: Path) -> list[Prepared]:
    """Images of a few colours under `count` names, each with a caption of its own, written an hour ago."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        file = folder / f"{number:06d}.png"
        Image.new("RGB", (SIDE, SIDE), (number % 256, number // 256 % 256, 0)).save(file)
        os.utime(file, (file.stat().st_mtime - 3600,) * 2)
    return [
        Prepared(
            sample=Sample(image=folder / f"{number:06d}.png", caption=f"image {number}"),
            bucket=Bucket(SIDE, SIDE),
            scale=1.0,
            cropped=0.0,
            box=Box(0, 0, SIDE, SIDE),
            size=(SIDE, SIDE),
            resolution=SIDE,
        )
        for number in range(count)
    ]


def mean_colours() -> Encoders:
    """Encoders without weights: what is measured is the cache."""

    def open_images() -> Callable[[Tensor], LatentDistribution]:
        def latents(pixels: Tensor) -> LatentDistribution:
            mean = torch.nn.functional.avg_pool2d(pixels, 8)
            return LatentDistribution(mean, torch.ones_like(mean))

        return latents

    def open_captions() -> Callable[[str], PromptEmbeds]:
        return lambda _: PromptEmbeds({"t5": torch.ones(1, 8, 32), "pooled": torch.ones(1, 32)})

    return Encoders("mean", open_images, "ones", open_captions, 8)


def seconds(work: Callable[[], object]) -> float:
    """Processor time."""
    began = process_time()
    work()
    return process_time() - began


def spent(work: Callable[[int], object], order: Sequence[int]) -> float:
    """Processor time of one."""
    return seconds(lambda: [work(number) for number in order]) / len(order)


def milli(time: float) -> str:
    """As milliseconds."""
    return f"{time * 1e3:.3f}"


def page() -> str:
    """Everything, as Markdown."""
    torch.set_num_threads(1)
    lines = [
        "# What the cache costs",
        "",
        f"{os.cpu_count()} cores; processor time of one thread, files in the page cache. "
        "Made by `python -m benchmarks.cache --write`.",
    ]
    for count, shapes, named in STORES:
        with TemporaryDirectory() as folder:
            rows = stores(count, shapes, Path(folder))
        columns = ("kept as", "write, ms", "read one at random, ms", "look whether it is there, ms", "kB on disk")
        lines += ["", f"## {count:,} entries, {named}", "", table(columns, rows)]
    lines += ["", WHY]
    rows = []
    for count in SETS:
        with TemporaryDirectory() as folder:
            rows.append(second_run(count, Path(folder) / "photos"))
    columns = ("pictures", "first run, ms each", "nothing changed, ms each", "one caption edited, s in all", "peak MiB")
    lines += ["", "## Runs over a set", "", "Encoders without weights, images of 16 x 16.", "", table(columns, rows)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables; keep them if that is asked for."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--write", action="store_true", help=f"keep the tables in {RESULT}")
    write = asked.parse_args().write
    made = page()
    print(made)
    if write:
        RESULT.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
