"""What it takes to get a photograph ready for the encoder: beside plain Pillow, and again when nothing has changed.

    python -m benchmarks.prepare            # prints the tables
    python -m benchmarks.prepare --write    # and keeps them in benchmarks/results/prepare.md

The ways take turns in one run, and times are processor time of one thread, so that a busy machine does not change them.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np
import torch
from PIL import Image

from benchmarks.cache import mean_colours
from benchmarks.ground import table
from benchmarks.photographs import SCENES, photograph
from flux_lora.config.choices import AlphaPolicy, MaskMode
from flux_lora.data.bucketing.plan import BucketOptions, Prepared, plan
from flux_lora.data.cache import encode_all
from flux_lora.data.cache.preprocess import preprocess
from flux_lora.data.images.decode import Decoded, decode
from flux_lora.data.images.resize import resize_region
from flux_lora.data.samples import Sample

RESULT = Path(__file__).parent / "results" / "prepare.md"
SIZES = {"1 MP": (1184, 896), "3 MP": (1998, 1512), "12 MP": (3996, 3024)}
"""Of one shape, which is the shape of a bucket at 512 and at 1024: no way gains by its crop."""
RESOLUTIONS = (512, 1024)
STRIP = 300
"""Pixels in height that each photograph gives to a mosaic: none of them is large, and to enlarge one is to blur it."""
JPEG_QUALITY = 92
PLAIN = "plain Pillow"
UNCHANGED = 20
COLUMNS = ("image", "way", "ms", "images a second and core", "x plain Pillow", "PSNR, dB")

NOTE = """\
*Plain Pillow* decodes the JPEG, resizes it to the bucket by Lanczos and hashes the decoded pixels. *Smaller decoding*
has the JPEG decoder drop what the resize would drop anyway, while at least 1.67 to 1.9 times the wanted size is left,
then resizes by Pillow's Lanczos and hashes the result. *And torch's Lanczos* resizes by `data/images/resize.py`.
*As the cache does it* is `data/cache/preprocess.py`, the way of `flux-lora prepare`. PSNR is against plain
Pillow's result. Images are mosaics of the photographs in scikit-image's wheel in their own size, JPEG of quality
92 with halved chroma: richer in detail than most photographs of that size, so the PSNR is on the low side."""

Way = Callable[[Prepared], Image.Image]


@dataclass(frozen=True)
class Cost:
    """What one way takes, and what it gives."""

    seconds: float
    decibels: float
    """Against plain Pillow; infinite where both are the same."""


def mosaic(size: tuple[int, int]) -> Image.Image:
    """Strips of photographs side by side, none of them resized."""
    image, photographs = Image.new("RGB", size), cycle([photograph(name) for name in SCENES])
    for top in range(0, size[1], STRIP):
        left = 0
        while left < size[0]:
            part = next(photographs)
            image.paste(part.crop((0, 0, part.width, STRIP)), (left, top))
            left += part.width
    return image


def plain(one: Prepared) -> Image.Image:
    """As a script does it."""
    with Image.open(one.sample.image) as opened:
        image = opened.convert("RGB")
    sha256(image.tobytes()).digest()
    return image.resize((one.bucket.width, one.bucket.height), Image.Resampling.LANCZOS)


def smaller(one: Prepared) -> Image.Image:
    """Decoded at a reduced size, resized by Pillow."""
    decoded = decode(one.sample.image, AlphaPolicy.composite, cover=one.cover)
    image = decoded.image.resize(
        (one.bucket.width, one.bucket.height), Image.Resampling.LANCZOS, box=_all_of(one, decoded)
    )
    sha256(image.tobytes()).digest()
    return image


def smaller_and_torch(one: Prepared) -> Image.Image:
    """Decoded at a reduced size, resized by torch where it can."""
    decoded = decode(one.sample.image, AlphaPolicy.composite, cover=one.cover)
    image = resize_region(decoded.image, (one.bucket.width, one.bucket.height), _all_of(one, decoded))
    sha256(image.tobytes()).digest()
    return image


def _all_of(one: Prepared, decoded: Decoded) -> tuple[float, float, float, float]:
    return 0, 0, one.size[0] / decoded.reduced, one.size[1] / decoded.reduced


def cached(one: Prepared) -> Image.Image:
    """As the package does it."""
    sight = preprocess(one, AlphaPolicy.composite, MaskMode.off, 8)
    sha256(sight.pixels_digest.encode()).digest()
    return sight.image


WAYS: Mapping[str, Way] = {
    PLAIN: plain,
    "smaller decoding": smaller,
    "and torch's Lanczos": smaller_and_torch,
    "as the cache does it": cached,
}


def measure(one: Prepared, rounds: int) -> dict[str, Cost]:
    """Each way's cost, by name. The first turn warms up and is not counted."""
    images = {name: way(one) for name, way in WAYS.items()}
    turns = [{name: seconds(lambda way=way: way(one)) for name, way in WAYS.items()} for _ in range(rounds)]
    return {name: Cost(median(turn[name] for turn in turns), decibels(images[name], images[PLAIN])) for name in WAYS}


def decibels(image: Image.Image, reference: Image.Image) -> float:
    """How near an image is to another."""
    wrong = np.square(np.asarray(image).astype(float) - np.asarray(reference)).mean()
    return float(10 * np.log10(255**2 / wrong)) if wrong else float("inf")


def seconds(work: Callable[[], object]) -> float:
    """Processor time."""
    began = process_time()
    work()
    return process_time() - began


def rows_for(resolution: int, files: Mapping[str, Path], rounds: int) -> list[list[str]]:
    """Each size of image by each way."""
    rows = []
    for named, file in files.items():
        one = plan([Sample(image=file, caption="a photo")], BucketOptions(16, resolutions=(resolution,))).prepared[0]
        costs = measure(one, rounds)
        for name, cost in costs.items():
            ratio = costs[PLAIN].seconds / cost.seconds
            nearness = "" if name == PLAIN else "the same" if np.isinf(cost.decibels) else f"{cost.decibels:.1f}"
            shown = [f"{cost.seconds * 1e3:.1f}", f"{1 / cost.seconds:.0f}", f"{ratio:.2f}", nearness]
            rows.append([f"{named} to {one.bucket.width} x {one.bucket.height}", name, *shown])
    return rows


def second_run(file: Path, folder: Path) -> list[str]:
    """Milliseconds an image of a first run and of one in which nothing has changed, encoders being free."""
    folder.mkdir()
    names = [folder / f"{number}.jpg" for number in range(UNCHANGED)]
    for number, name in enumerate(names):
        name.write_bytes(file.read_bytes() + bytes([number]))
        os.utime(name, (name.stat().st_mtime - 3600,) * 2)
    samples = [Sample(image=name, caption=f"photo {number}") for number, name in enumerate(names)]
    prepared = plan(samples, BucketOptions(16, resolutions=(RESOLUTIONS[0],))).prepared

    def run() -> None:
        encode_all(prepared, mean_colours(), folder / "cache")

    return [f"{seconds(run) / UNCHANGED * 1e3:.2f}" for _ in range(2)]


def page(rounds: int, folder: Path) -> str:
    """Everything, as Markdown."""
    before, files = os.getloadavg()[0], {}
    for named, size in SIZES.items():
        files[named] = folder / f"{size[0]}.jpg"
        mosaic(size).save(files[named], quality=JPEG_QUALITY)
    speeds = [row for resolution in RESOLUTIONS for row in rows_for(resolution, files, rounds)]
    runs = [[named, *second_run(file, folder / named)] for named, file in files.items()]
    lines = [
        "# Getting photographs ready for the encoder",
        "",
        f"{os.cpu_count()} cores; processor time of one thread, medians of {rounds} turns, load "
        f"{before:.1f} at the start. torch {torch.__version__}. Made by `python -m benchmarks.prepare --write`.",
        "",
        table(COLUMNS, speeds),
        "",
        NOTE,
        "",
        f"## A run over {UNCHANGED} images, and again with nothing changed",
        "",
        "Decoding, cutting, hashing and writing; the encoders have no weights.",
        "",
        table(("image", "first run, ms each", "nothing changed, ms each"), runs),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the tables; keep them if that is asked for."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--rounds", type=int, default=9, help="turns of each way (default 9)")
    asked.add_argument("--write", action="store_true", help=f"keep the tables in {RESULT}")
    options = asked.parse_args()
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        made = page(options.rounds, Path(folder))
    print(made)
    if options.write:
        RESULT.parent.mkdir(exist_ok=True)
        RESULT.write_text(made, encoding="utf-8")


if __name__ == "__main__":
    main()
