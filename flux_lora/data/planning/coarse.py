"""The plain way that most trainers take: a fixed list of coarse buckets, each picture in the one nearest to its shape.

Here it is only the measure that a plan is held to: where it would cost a set less than a sparing plan, pictures have
to give more.
"""

import math
from collections.abc import Iterable
from functools import lru_cache

from flux_lora.data.planning.buckets import Bucket
from flux_lora.data.planning.placing import Shape

STEP = 64
SHORTEST = 256
LONGEST = 2048


def coarse_buckets(shapes: Iterable[Shape]) -> dict[Shape, Bucket]:
    """Pictures too small for their bucket would be enlarged to it."""
    return {shape: min(_offered(shape.resolution), key=lambda one: _off(one, shape)) for shape in shapes}


def _off(bucket: Bucket, shape: Shape) -> float:
    return abs(bucket.aspect - shape.width / shape.height)


@lru_cache(maxsize=32)
def _offered(resolution: int) -> tuple[Bucket, ...]:
    """For each width the largest height within the area, and the same lying on its side."""
    square = max(STEP, resolution // STEP * STEP)
    found = {Bucket(square, square)}
    for width in range(SHORTEST, LONGEST + 1, STEP):
        height = min(LONGEST, math.floor(resolution**2 / width / STEP) * STEP)
        if height >= SHORTEST:
            found |= {Bucket(width, height), Bucket(height, width)}
    return tuple(sorted(found))
