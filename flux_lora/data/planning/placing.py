"""What a bucket would cost a picture, and the bucket that a picture alone would have."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from flux_lora.data.planning.buckets import LONGEST_ASPECT, Bucket, around, buckets

SMALLEST = 256
"""Side of the square below which no picture's bucket goes, if more was asked for: there it is enlarged after all."""
MOST_ENLARGED = 1.05
"""Where this much is enough to fill the resolution, or to share a bucket, a picture is enlarged: it does not show."""
MOST_CROPPED = 0.25
"""Share of a picture. A set of many shapes and few pictures needs some of it; what is cropped more, check refuses."""
WORTH_OF_AREA = 0.5
"""A share of the wanted area missed, or enlarged into being, against the same share of a picture cropped away."""
ROUNDING = 1e-6


@dataclass(frozen=True, order=True)
class Shape:
    """A picture's size as people see it, and the side of the square whose area it should fill."""

    width: int
    height: int
    resolution: int


@dataclass(frozen=True)
class BucketLimits:
    """What no bucket may do."""

    longest_aspect: float = LONGEST_ASPECT
    most_enlarged: float = MOST_ENLARGED
    most_cropped: float = MOST_CROPPED
    """For the sake of sharing. A picture beyond the longest aspect is cropped to that all the same."""


@dataclass(frozen=True)
class OwnBucket:
    """A shape's own bucket, and how far other buckets may go for it."""

    bucket: Bucket
    aspect: float
    """Width over height of what is left once the picture is within the longest aspect."""
    wanted: float
    """Pixels: the resolution's, or as many as the picture has where it has fewer."""
    width: float
    """Widest bucket."""
    height: float
    """Highest bucket."""
    area: int
    """Largest bucket."""


def own_bucket(shape: Shape, limits: BucketLimits) -> OwnBucket:
    """Where the shape would go if it were alone."""
    width = min(shape.width, limits.longest_aspect * shape.height)
    height = min(shape.height, limits.longest_aspect * shape.width)
    there, full = width * height, shape.resolution**2
    wanted = full if there * limits.most_enlarged**2 >= full else max(there, min(shape.resolution, SMALLEST) ** 2)
    aspect = width / height
    area = largest_area(shape.resolution, limits.longest_aspect)
    near = around(math.sqrt(wanted * aspect), math.sqrt(wanted / aspect), limits.longest_aspect)
    near = [bucket for bucket in near if bucket.area <= area] or near
    if wanted <= there * limits.most_enlarged**2:
        allowed = limits.most_enlarged + ROUNDING
        near = [bucket for bucket in near if scale_into(shape.width, shape.height, bucket) <= allowed] or near
    bucket = _least(near, aspect, wanted)
    allowed = max(limits.most_enlarged, scale_into(shape.width, shape.height, bucket)) + ROUNDING
    return OwnBucket(bucket, aspect, wanted, shape.width * allowed, shape.height * allowed, area)


def scale_into(width: float, height: float, bucket: Bucket) -> float:
    """How much a picture is scaled to cover the bucket. Above 1 it is enlarged."""
    return max(bucket.width / width, bucket.height / height)


def lost_in(width: float, height: float, bucket: Bucket) -> float:
    """Share of a picture that falls outside the bucket, 0 to 1."""
    return 1 - bucket.area / (width * height * scale_into(width, height, bucket) ** 2)


@lru_cache(maxsize=32)
def largest_area(resolution: int, longest_aspect: float = LONGEST_ASPECT) -> int:
    """Pixels of the largest bucket of a resolution: what has to fit into memory."""
    return max(bucket.area for bucket in buckets(resolution, longest_aspect))


def _least(choice: Iterable[Bucket], aspect: float, wanted: float) -> Bucket:
    def cost(bucket: Bucket) -> tuple[float, int, int]:
        off_shape = 1 - min(bucket.aspect / aspect, aspect / bucket.aspect)
        off_area = abs(math.log(bucket.area / wanted))
        return round(off_shape + WORTH_OF_AREA * off_area, 9), -bucket.area, abs(bucket.width - bucket.height)

    return min(choice, key=cost)
