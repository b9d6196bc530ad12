"""Crop an image to its bucket, keeping the subject inside: its mask, its opaque part or what is salient.

Shape letters: H W height and width, C channels (3).
"""

import numpy as np
from PIL import Image

from flux_lora.config.choices import AlphaPolicy, CropMode
from flux_lora.data.bucketing.buckets import Bucket, scale_into
from flux_lora.data.images.decode import decode, upright_size
from flux_lora.data.images.masks import read_mask
from flux_lora.data.images.resize import resize_region
from flux_lora.data.samples import Box, Sample

MASK_COUNTS = 64
"""Level, of 255, from which on a mask's pixel belongs to the subject."""
SALIENCY_SIDE = 96
"""Long side, in pixels, of the copy in which salience is measured."""
EDGE_SHARE = 0.05
"""Share of the salience that may lie beyond each side of the subject's box."""
MIDDLE = 0.35
"""Standard deviation of the weight around the middle, in sides of the image."""


def crop_window(size: tuple[int, int], bucket: Bucket, keep: Box | None = None, at: float | None = None) -> Box:
    """The part of an image that fills the bucket, in the image's pixels: centred, but moved to hold `keep`.

    `size`: width and height of the image. `at`, 0 to 1, places it between the first and last allowed positions instead.
    """
    scale = scale_into(*size, bucket)
    width, height = min(size[0], bucket.width / scale), min(size[1], bucket.height / scale)
    left = _start(size[0], width, (keep.left, keep.right) if keep else None, at)
    top = _start(size[1], height, (keep.top, keep.bottom) if keep else None, at)
    return Box(left, top, min(size[0], left + width), min(size[1], top + height))


def crop_to_bucket(image: Image.Image, box: Box, bucket: Bucket, *, of: tuple[int, int] | None = None) -> Image.Image:
    """The box of the image, resized once to exactly the bucket.

    `of`: the width and height that the box was measured in, where the image was decoded smaller than that.
    """
    part = scale_box(box, of or image.size, image.size)
    edges = (max(0.0, part.left), max(0.0, part.top), min(image.width, part.right), min(image.height, part.bottom))
    return resize_region(image, (bucket.width, bucket.height), edges)


def scale_box(box: Box, of: tuple[int, int], to: tuple[int, int]) -> Box:
    """The box in the same image at another size; `of` and `to` are width and height."""
    across, down = to[0] / of[0], to[1] / of[1]
    return Box(box.left * across, box.top * down, box.right * across, box.bottom * down)


def intersection(one: Box, other: Box) -> Box | None:
    """The overlap of two boxes, or None."""
    left, top = max(one.left, other.left), max(one.top, other.top)
    right, bottom = min(one.right, other.right), min(one.bottom, other.bottom)
    return Box(left, top, right, bottom) if left < right and top < bottom else None


def protected_box(sample: Sample, crop: CropMode, alpha: AlphaPolicy) -> Box | None:
    """The box that crops must hold: of its masks or, without any and under CropMode.subject, of what is salient.

    Under AlphaPolicy.mask the alpha channel is a mask, too.
    """
    masked = masked_part(sample)
    opaque = opaque_part(sample) if alpha is AlphaPolicy.mask else None
    if masked and opaque:
        return intersection(masked, opaque) or masked
    return masked or opaque or (salient(sample) if crop is CropMode.subject else None)


def masked_part(sample: Sample) -> Box | None:
    """The box of the mask's light part, in pixels of the image; None without a mask or with a black one."""
    return _light_part(read_mask(sample.mask), upright_size(sample.image)) if sample.mask else None


def opaque_part(sample: Sample) -> Box | None:
    """The box of the image's opaque part, in its pixels; None where all of it is opaque."""
    opacity = decode(sample.image, AlphaPolicy.mask, cover=(SALIENCY_SIDE, SALIENCY_SIDE)).opacity
    return _light_part(opacity, upright_size(sample.image)) if opacity else None


def salient(sample: Sample) -> Box | None:
    """The box of what is most salient in the sample's image, in its pixels; None where nothing is."""
    image = decode(sample.image, AlphaPolicy.composite, cover=(SALIENCY_SIDE, SALIENCY_SIDE)).image
    found = salient_part(image)
    return scale_box(found, image.size, upright_size(sample.image)) if found else None


def salient_part(image: Image.Image) -> Box | None:
    """The box around most of an image's edges, weighted towards the middle; None where there are none."""
    small = image.convert("RGB")
    small.thumbnail((SALIENCY_SIDE, SALIENCY_SIDE), Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float64)  # HWC
    edges = np.zeros(values.shape[:2])  # HW
    edges[:, 1:] += np.abs(np.diff(values, axis=1)).sum(axis=2)
    edges[1:, :] += np.abs(np.diff(values, axis=0)).sum(axis=2)
    edges = np.maximum(0, edges - np.median(edges)) * np.outer(
        _centre_weights(small.height), _centre_weights(small.width)
    )
    if not edges.any():
        return None
    (left, right), (top, bottom) = _central_span(edges.sum(axis=0)), _central_span(edges.sum(axis=1))
    return scale_box(Box(left, top, right, bottom), small.size, image.size)


def _light_part(mask: Image.Image, size: tuple[int, int]) -> Box | None:
    """The box of the light part of a grey mask, in an image of `size`."""
    found = mask.point([255 if value >= MASK_COUNTS else 0 for value in range(256)]).getbbox()
    return scale_box(Box(*found), mask.size, size) if found else None


def _centre_weights(count: int) -> np.ndarray:
    """Gaussian weights around the middle, one for each of `count` rows or columns."""
    off = (np.arange(count) + 0.5) / count - 0.5
    return np.exp(-(off**2) / (2 * MIDDLE**2))


def _central_span(sums: np.ndarray) -> tuple[float, float]:
    """First and last place, in pixels, that leave EDGE_SHARE of the sum on each side."""
    share = np.cumsum(sums) / sums.sum()
    return float(np.searchsorted(share, EDGE_SHARE)), float(np.searchsorted(share, 1 - EDGE_SHARE) + 1)


def _start(length: float, span: float, keep: tuple[float, float] | None, at: float | None) -> float:
    """Where a window of `span` pixels starts along a side of `length` pixels. Arguments as in crop_window."""
    low, high = 0.0, max(0.0, length - span)
    if keep:
        near, far = sorted((keep[1] - span, keep[0]))
        if keep[1] - keep[0] > span:  # it does not fit: its middle is centred
            near = far = (keep[0] + keep[1] - span) / 2
        low, high = (min(high, max(0.0, edge)) for edge in (near, far))
    return min(high, max(low, (length - span) / 2)) if at is None else low + at * (high - low)
