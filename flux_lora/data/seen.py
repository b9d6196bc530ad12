"""Look at each picture once: what it is like, what decoding did to it, and a small copy for the page."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flux_lora.config.choices import AlphaPolicy, Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.looks.deep import Embed, one_core_each
from flux_lora.data.looks.look import ImageStats, measure
from flux_lora.data.looks.reading import Line, Read
from flux_lora.data.page.thumbnails import outline_of, thumbnail_of
from flux_lora.data.pictures.decode import decode
from flux_lora.data.pictures.masks import has_shape_of, read_mask
from flux_lora.data.samples import Sample
from flux_lora.data.told import Progress, no_progress
from flux_lora.errors import DataError

UNREADABLE = Rule("unreadable", Severity.error, "A picture cannot be decoded whole, or not as the recipe wants it.")
UNREADABLE_MASK = Rule("unreadable-mask", Severity.error, "A mask cannot be decoded; its picture would be without it.")
MASK_SHAPE = Rule("mask-shape", Severity.error, "A mask of another shape than its picture marks other places.")
RULES: tuple[Rule, ...] = (UNREADABLE, UNREADABLE_MASK, MASK_SHAPE)


@dataclass(frozen=True)
class ScannedImage:
    """One picture after it was looked at."""

    sample: Sample
    stats: ImageStats | None = None
    """None where it cannot be decoded."""
    notes: tuple[str, ...] = ()
    """What decoding did to it."""
    thumbnail: bytes = b""
    outline: bytes = b""
    """Of its mask."""
    vector: NDArray[np.float32] | None = None
    """As a small network sees it; None where nobody looked for other crops."""
    lines: tuple[Line, ...] | None = None
    """The words in it; None where nobody read."""
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class ScanOptions:
    """How pictures are looked at."""

    alpha: AlphaPolicy = AlphaPolicy.composite
    embed: Embed | None = None
    """Tells other crops of one photo; without it those are not looked for."""
    read: Read | None = None
    """Finds words in pictures; without it watermarks across a picture are not looked for."""
    draws: bool = False
    """Whether small copies are made for a page."""


def scan_all(samples: Sequence[Sample], eye: ScanOptions, *, progress: Progress = no_progress) -> list[ScannedImage]:
    """Every sample, in order, looked at by as many threads as there are cores."""
    with one_core_each() if eye.embed else nullcontext(), ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(
            _counted(threads.map(lambda sample: scan(sample, eye, len(samples)), samples), len(samples), progress)
        )


def scan(sample: Sample, eye: ScanOptions, count: int = 1) -> ScannedImage:
    """Decode a picture and its mask, and measure. `count`: how many pictures a page would show."""
    try:
        decoded = decode(sample.image, eye.alpha)
    except DataError as error:
        problem = error.problem.removeprefix(f"{sample.image} ")
        return ScannedImage(sample, findings=(UNREADABLE.at(sample.image, problem, error.fix),))
    picture = decoded.picture
    mask, findings = _mask_of(sample, picture.size)
    mask = mask or decoded.opacity
    return ScannedImage(
        sample,
        stats=measure(sample.image, picture, mask=mask),
        notes=decoded.notes,
        thumbnail=thumbnail_of(picture, count) if eye.draws else b"",
        outline=outline_of(mask, count) if eye.draws and mask else b"",
        vector=eye.embed(picture) if eye.embed else None,
        lines=eye.read(picture) if eye.read else None,
        findings=findings,
    )


def _mask_of(sample: Sample, size: tuple[int, int]) -> tuple[Image.Image | None, tuple[Finding, ...]]:
    if sample.mask is None:
        return None, ()
    try:
        mask = read_mask(sample.mask)
    except DataError as error:
        problem = f"has a mask, {sample.mask.name}, that {error.problem.removeprefix(f'{sample.mask} ')}"
        return None, (UNREADABLE_MASK.at(sample.image, problem, error.fix),)
    if has_shape_of(mask, size):
        return mask, ()
    shapes = f"{mask.width}x{mask.height}, and the picture is {size[0]}x{size[1]}"
    return None, (
        MASK_SHAPE.at(
            sample.image, f"has a mask, {sample.mask.name}, of {shapes}", "draw it over the whole picture, upright"
        ),
    )


def _counted(seen: Iterator[ScannedImage], total: int, progress: Progress) -> Iterator[ScannedImage]:
    for done, one in enumerate(seen, start=1):
        progress(done, total, one.sample.image.name)
        yield one
