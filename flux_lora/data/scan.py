"""Decode and measure each image once: statistics, decoding notes, a thumbnail for the report."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flux_lora.config.choices import AlphaPolicy, Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.image_stats.copies import Embed, one_core_each
from flux_lora.data.image_stats.lettering import Line, Read
from flux_lora.data.image_stats.mask_stats import MaskStats, measure_mask
from flux_lora.data.image_stats.measure import ImageStats, measure
from flux_lora.data.image_stats.pair_stats import PairStats, measure_pair
from flux_lora.data.images.decode import alpha_of_reference, decode
from flux_lora.data.images.masks import has_shape_of, read_mask
from flux_lora.data.images.resize import outline_of, thumbnail_of
from flux_lora.data.progress import Progress, no_progress
from flux_lora.data.samples import Sample
from flux_lora.errors import DataError

UNREADABLE = Rule("unreadable", Severity.error, "An image cannot be decoded whole, or not as the recipe wants it.")
UNREADABLE_MASK = Rule("unreadable-mask", Severity.error, "A mask cannot be decoded; its image would be without it.")
MASK_SHAPE = Rule("mask-shape", Severity.error, "A mask of another shape than its image marks other places.")
UNREADABLE_REFERENCE = Rule(
    "unreadable-reference", Severity.error, "What an image was made from cannot be decoded, or is not there."
)
SCAN_RULES: tuple[Rule, ...] = (UNREADABLE, UNREADABLE_MASK, MASK_SHAPE, UNREADABLE_REFERENCE)


@dataclass(frozen=True)
class ScannedImage:
    """What one pass over an image found."""

    sample: Sample
    stats: ImageStats | None = None
    """None where it cannot be decoded."""
    notes: tuple[str, ...] = ()
    """What decoding converted, and how much of the image its mask lets count."""
    thumbnail: bytes = b""
    """JPEG; empty unless `ScanOptions.draws`."""
    outline: bytes = b""
    """PNG, the edge of its mask; empty without one, or unless `ScanOptions.draws`."""
    vector: NDArray[np.float32] | None = None
    """Unit-length EfficientNet-Lite0 embedding; None without `ScanOptions.embed`."""
    lines: tuple[Line, ...] | None = None
    """Lines of text found by OCR; None without `ScanOptions.read`."""
    findings: tuple[Finding, ...] = ()
    """Why the image, or its mask, cannot be used."""
    mask: MaskStats | None = None
    """None without a mask of its own, or where it cannot be used."""
    pairs: tuple[PairStats | None, ...] = ()
    """How it lies over each of its references; None where their shapes differ."""
    thumbnails_before: tuple[bytes, ...] = ()
    """Of its references, as JPEG; none unless `ScanOptions.draws`."""


@dataclass(frozen=True)
class ScanOptions:
    """How images are decoded, and what is measured beside their statistics."""

    alpha: AlphaPolicy = AlphaPolicy.composite
    embed: Embed | None = None
    """Embeds images, to find other crops of one photo; None skips that."""
    read: Read | None = None
    """OCR, to find watermarks across an image; None skips that."""
    draws: bool = False
    """Whether thumbnails and mask outlines are made for the report."""


def scan_all(
    samples: Sequence[Sample], options: ScanOptions, *, progress: Progress = no_progress
) -> list[ScannedImage]:
    """Scan every sample, by one thread for each core; results are in the samples' order."""
    scanned: list[ScannedImage] = []
    with one_core_each() if options.embed else nullcontext(), ThreadPoolExecutor(os.cpu_count()) as threads:
        for image in threads.map(lambda sample: scan(sample, options, len(samples)), samples):
            scanned.append(image)
            progress(len(scanned), len(samples), image.sample.image.name)
    return scanned


def scan(sample: Sample, options: ScanOptions, count: int = 1) -> ScannedImage:
    """Decode an image and its mask, and measure. `count`: how many images the report would show."""
    try:
        decoded = decode(sample.image, options.alpha)
    except DataError as error:
        problem = error.problem.removeprefix(f"{sample.image} ")
        return ScannedImage(sample, findings=(UNREADABLE.at(sample.image, problem, error.fix),))
    image = decoded.image
    own_mask, findings = _mask_of(sample, image.size)
    before, unreadable = _references_of(sample, alpha_of_reference(options.alpha))
    mask, marked = own_mask or decoded.opacity, measure_mask(own_mask) if own_mask else None
    return ScannedImage(
        sample,
        stats=measure(sample.image, image, mask=mask),
        notes=(*decoded.notes, *([f"mask: {marked.share:.0%} of the image counts"] if marked else [])),
        thumbnail=thumbnail_of(image, count) if options.draws else b"",
        outline=outline_of(mask, count) if options.draws and mask else b"",
        vector=options.embed(image) if options.embed else None,
        lines=options.read(image) if options.read else None,
        findings=(*findings, *unreadable),
        mask=marked,
        pairs=tuple(measure_pair(each, image) if has_shape_of(each, image.size) else None for each in before),
        thumbnails_before=tuple(thumbnail_of(each, count) for each in before) if options.draws else (),
    )


def vectors_of(scanned: Sequence[ScannedImage]) -> dict[Path, NDArray[np.float32]] | None:
    """Embedding by image; None where the extra is missing that computes them."""
    return {one.stats.image: one.vector for one in scanned if one.stats and one.vector is not None} or None


def _references_of(sample: Sample, alpha: AlphaPolicy) -> tuple[list[Image.Image], list[Finding]]:
    """What the image was made from, and why any of it cannot be used."""
    images, findings = [], []
    for file in sample.references:
        try:
            images.append(decode(file, alpha).image)
        except DataError as error:
            problem = f"was made from {file}, which {error.problem.removeprefix(f'{file} ')}"
            findings.append(UNREADABLE_REFERENCE.at(sample.image, problem, error.fix))
    return images, findings


def _mask_of(sample: Sample, size: tuple[int, int]) -> tuple[Image.Image | None, tuple[Finding, ...]]:
    """The mask of an image of `size`, or why it cannot be used; neither where there is none."""
    if sample.mask is None:
        return None, ()
    try:
        mask = read_mask(sample.mask)
    except DataError as error:
        problem = f"has a mask, {sample.mask.name}, that {error.problem.removeprefix(f'{sample.mask} ')}"
        return None, (UNREADABLE_MASK.at(sample.image, problem, error.fix),)
    if has_shape_of(mask, size):
        return mask, ()
    shapes = f"{mask.width}x{mask.height}, and the image is {size[0]}x{size[1]}"
    return None, (
        MASK_SHAPE.at(
            sample.image, f"has a mask, {sample.mask.name}, of {shapes}", "draw it over the whole image, upright"
        ),
    )
