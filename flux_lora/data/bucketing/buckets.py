"""Aspect-ratio buckets, and the bucket that an image alone would have, with the limits of those it may share.

`step` is the pixels per side of one image token: sides are multiples of it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

LONGEST_ASPECT = 4.0
"""Long side over short side. Longer images are cropped to it."""


@dataclass(frozen=True, order=True)
class Bucket:
    """A width and height, in pixels, that several samples share."""

    width: int
    height: int

    @property
    def area(self) -> int:
        """Pixels."""
        return self.width * self.height

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width / self.height


@lru_cache(maxsize=32)
def buckets(resolution: int, step: int, longest_aspect: float = LONGEST_ASPECT) -> tuple[Bucket, ...]:
    """Every bucket of about resolution² pixels: for each side, the other side that comes nearest to the area."""
    shortest = _stepped(resolution / math.sqrt(longest_aspect), step)
    longest = _stepped(resolution * math.sqrt(longest_aspect), step)
    sides = ((side, _stepped(resolution**2 / side, step)) for side in range(shortest, longest + 1, step))
    pairs = {pair for a, b in sides for pair in ((a, b), (b, a)) if max(pair) <= longest_aspect * min(pair)}
    return tuple(sorted(Bucket(width=width, height=height) for width, height in pairs))


def around(width: float, height: float, step: int, longest_aspect: float = LONGEST_ASPECT) -> tuple[Bucket, ...]:
    """The few buckets nearest to a width and height: up to two steps below, and at least one no smaller than either."""
    pairs = ((a, b) for a in _steps_near(width, step) for b in _steps_near(height, step))
    return tuple(sorted({_shortened(a, b, step, longest_aspect) for a, b in pairs}))


def _steps_near(side: float, step: int) -> tuple[int, ...]:
    """Multiples of the step: two below a side and one above it."""
    below = math.floor(side / step + 1e-9)
    above = math.ceil(side / step - 1e-9)
    return tuple({step * max(1, steps) for steps in (below - 1, below, above)})


def _shortened(width: int, height: int, step: int, longest_aspect: float) -> Bucket:
    """A bucket whose long side is cut to the longest aspect."""

    def limit(other: int) -> int:
        return step * int(longest_aspect * other / step + 1e-9)

    return Bucket(width=min(width, limit(height)), height=min(height, limit(width)))


def _stepped(pixels: float, step: int) -> int:
    return max(step, round(pixels / step) * step)


SMALLEST = 256
"""Side of the square whose area no bucket falls below, unless the resolution does: smaller images are enlarged."""
MOST_ENLARGED = 1.05
"""Scale up to which an image is enlarged to fill the resolution or to share a bucket: it does not show."""
MOST_CROPPED = 0.25
"""Share of an image that may be cropped to share a bucket, as few images of many shapes need; check refuses more."""
WORTH_OF_AREA = 0.5
"""Cost of a deviation from the target area by a share, against cropping the same share of the image."""
ROUNDING = 1e-6


@dataclass(frozen=True, order=True)
class Shape:
    """An image's upright size, and the resolution: the side of the square whose area it should fill."""

    width: int
    height: int
    resolution: int


@dataclass(frozen=True)
class BucketLimits:
    """Limits of every bucket."""

    step: int
    """Pixels per side of one image token."""
    longest_aspect: float = LONGEST_ASPECT
    max_upscale: float = MOST_ENLARGED
    max_crop: float = MOST_CROPPED
    """Share of an image, for sharing. An image beyond the longest aspect is cropped to that all the same."""


@dataclass(frozen=True)
class OwnBucket:
    """The bucket a shape would have alone, and the limits of those it may share."""

    bucket: Bucket
    aspect: float
    """Width over height of the image, once cropped to the longest aspect."""
    target_area: float
    """Pixels: the resolution's, or as many as the image has where it has fewer."""
    width: float
    """Largest width of a bucket, in pixels."""
    height: float
    """Largest height, in pixels."""
    area: int
    """Largest area, in pixels."""


def own_bucket(shape: Shape, limits: BucketLimits) -> OwnBucket:
    """The bucket of a shape that shares with no other: nearest in aspect and area, enlarging within the limits."""
    width = min(shape.width, limits.longest_aspect * shape.height)
    height = min(shape.height, limits.longest_aspect * shape.width)
    image_area, full_area = width * height, shape.resolution**2
    if image_area * limits.max_upscale**2 >= full_area:
        target_area = full_area
    else:
        target_area = max(image_area, min(shape.resolution, SMALLEST) ** 2)
    aspect = width / height
    area = largest_area(shape.resolution, limits.step, limits.longest_aspect)
    near = around(math.sqrt(target_area * aspect), math.sqrt(target_area / aspect), limits.step, limits.longest_aspect)
    near = [bucket for bucket in near if bucket.area <= area] or near
    if target_area <= image_area * limits.max_upscale**2:
        allowed = limits.max_upscale + ROUNDING
        near = [bucket for bucket in near if scale_into(shape.width, shape.height, bucket) <= allowed] or near
    bucket = _nearest(near, aspect, target_area)
    allowed = max(limits.max_upscale, scale_into(shape.width, shape.height, bucket)) + ROUNDING
    return OwnBucket(bucket, aspect, target_area, shape.width * allowed, shape.height * allowed, area)


def scale_into(width: float, height: float, bucket: Bucket) -> float:
    """Factor by which an image is resized to cover the bucket. Above 1 it is enlarged."""
    return max(bucket.width / width, bucket.height / height)


def lost_in(width: float, height: float, bucket: Bucket) -> float:
    """Share of an image that is cropped by covering the bucket, 0 to 1."""
    return 1 - bucket.area / (width * height * scale_into(width, height, bucket) ** 2)


@lru_cache(maxsize=32)
def largest_area(resolution: int, step: int, longest_aspect: float = LONGEST_ASPECT) -> int:
    """Pixels of the largest bucket of a resolution, which must fit into memory."""
    return max(bucket.area for bucket in buckets(resolution, step, longest_aspect))


def _nearest(choices: Iterable[Bucket], aspect: float, target_area: float) -> Bucket:
    """By aspect and area; of equally near ones the largest, then the squarest."""

    def cost(bucket: Bucket) -> tuple[float, int, int]:
        off_aspect = 1 - min(bucket.aspect / aspect, aspect / bucket.aspect)
        off_area = abs(math.log(bucket.area / target_area))
        return round(off_aspect + WORTH_OF_AREA * off_area, 9), -bucket.area, abs(bucket.width - bucket.height)

    return min(choices, key=cost)
