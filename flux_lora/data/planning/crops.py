"""Which part of a picture fills its bucket, and cutting it out. What must not be lost stays inside."""

import numpy as np
from PIL import Image

from flux_lora.config.choices import AlphaPolicy, CropMode
from flux_lora.data.box import Box
from flux_lora.data.pictures.decode import decode, upright_size
from flux_lora.data.pictures.masks import read_mask
from flux_lora.data.pictures.resize import resize_region
from flux_lora.data.planning.buckets import Bucket
from flux_lora.data.planning.placing import scale_into
from flux_lora.data.samples import Sample

MASK_COUNTS = 64
"""Of 255: lighter parts of a mask belong to the subject."""
LOOKED_AT = 96
"""Long side, in pixels, of the copy in which what stands out is found."""
EDGE_SHARE = 0.05
"""Share of what stands out that may lie beyond each side of the subject's box."""
MIDDLE = 0.35
"""How far from the middle, in sides of the picture, things begin to count for less."""


def crop_window(size: tuple[int, int], bucket: Bucket, keep: Box | None = None, at: float | None = None) -> Box:
    """The part of a picture that fills the bucket: as near the middle as what is to keep allows.

    `at`, 0 to 1, puts it elsewhere: at a share of the way that it may go.
    """
    scale = scale_into(*size, bucket)
    width, height = min(size[0], bucket.width / scale), min(size[1], bucket.height / scale)
    left = _start(size[0], width, (keep.left, keep.right) if keep else None, at)
    top = _start(size[1], height, (keep.top, keep.bottom) if keep else None, at)
    return Box(left, top, min(size[0], left + width), min(size[1], top + height))


def crop_to_bucket(picture: Image.Image, box: Box, bucket: Bucket, *, of: tuple[int, int] | None = None) -> Image.Image:
    """The part of the picture as exactly the bucket, resized once.

    `of` is the size in which the box was measured, where the picture was decoded smaller than that.
    """
    part = scale_box(box, of or picture.size, picture.size)
    edges = (max(0.0, part.left), max(0.0, part.top), min(picture.width, part.right), min(picture.height, part.bottom))
    return resize_region(picture, (bucket.width, bucket.height), edges)


def scale_box(box: Box, of: tuple[int, int], to: tuple[int, int]) -> Box:
    """The same part of the same picture at another size."""
    across, down = to[0] / of[0], to[1] / of[1]
    return Box(box.left * across, box.top * down, box.right * across, box.bottom * down)


def intersection(one: Box, other: Box) -> Box | None:
    """Where two boxes overlap."""
    left, top = max(one.left, other.left), max(one.top, other.top)
    right, bottom = min(one.right, other.right), min(one.bottom, other.bottom)
    return Box(left, top, right, bottom) if left < right and top < bottom else None


def protected_box(sample: Sample, crop: CropMode, alpha: AlphaPolicy) -> Box | None:
    """What must not be cropped away: what its masks keep or, under CropMode.subject and without any, what stands out.

    Under AlphaPolicy.mask what is transparent is a mask, too.
    """
    parts = [part for part in (masked_part(sample), opaque_part(sample) if alpha is AlphaPolicy.mask else None) if part]
    if parts:
        first, *more = parts
        return (intersection(first, more[0]) or first) if more else first
    return salient(sample) if crop is CropMode.subject else None


def masked_part(sample: Sample) -> Box | None:
    """Where the sample's mask is light, in pixels of its picture; None without a mask or with a black one."""
    return _light_part(read_mask(sample.mask), upright_size(sample.image)) if sample.mask else None


def opaque_part(sample: Sample) -> Box | None:
    """Where the picture itself is opaque; None where all of it is."""
    opacity = decode(sample.image, AlphaPolicy.mask, cover=(LOOKED_AT, LOOKED_AT)).opacity
    return _light_part(opacity, upright_size(sample.image)) if opacity else None


def salient(sample: Sample) -> Box | None:
    """What stands out most in the sample's picture."""
    picture = decode(sample.image, AlphaPolicy.composite, cover=(LOOKED_AT, LOOKED_AT)).picture
    found = salient_part(picture)
    return scale_box(found, picture.size, upright_size(sample.image)) if found else None


def salient_part(picture: Image.Image) -> Box | None:
    """The box around most of a picture's edges, those near the middle counting more; None where there are none."""
    small = picture.convert("RGB")
    small.thumbnail((LOOKED_AT, LOOKED_AT), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float64)
    edges = np.zeros(values.shape[:2])
    edges[:, 1:] += np.abs(np.diff(values, axis=1)).sum(axis=2)
    edges[1:, :] += np.abs(np.diff(values, axis=0)).sum(axis=2)
    edges = np.maximum(0, edges - np.median(edges)) * np.outer(_nearness(small.height), _nearness(small.width))
    if not edges.any():
        return None
    (left, right), (top, bottom) = _most_of(edges.sum(axis=0)), _most_of(edges.sum(axis=1))
    return scale_box(Box(left, top, right, bottom), small.size, picture.size)


def _light_part(mask: Image.Image, size: tuple[int, int]) -> Box | None:
    found = mask.point([255 if value >= MASK_COUNTS else 0 for value in range(256)]).getbbox()
    return scale_box(Box(*found), mask.size, size) if found else None


def _nearness(count: int) -> np.ndarray:
    """How much each row or column counts for lying near the middle."""
    off = (np.arange(count) + 0.5) / count - 0.5
    return np.exp(-(off**2) / (2 * MIDDLE**2))


def _most_of(sums: np.ndarray) -> tuple[float, float]:
    """The span that leaves a small share of the sum on each side."""
    share = np.cumsum(sums) / sums.sum()
    return float(np.searchsorted(share, EDGE_SHARE)), float(np.searchsorted(share, 1 - EDGE_SHARE) + 1)


def _start(length: float, span: float, keep: tuple[float, float] | None, at: float | None) -> float:
    """Where the window begins along one side."""
    low, high = 0.0, max(0.0, length - span)
    if keep:
        near, far = sorted((keep[1] - span, keep[0]))
        if keep[1] - keep[0] > span:  # it cannot be inside whole: its middle is
            near = far = (keep[0] + keep[1] - span) / 2
        low, high = (min(high, max(0.0, edge)) for edge in (near, far))
    return min(high, max(low, (length - span) / 2)) if at is None else low + at * (high - low)
