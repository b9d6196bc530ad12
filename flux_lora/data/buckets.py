"""Aspect-ratio buckets: each picture keeps its shape, and pictures of a shape share a batch."""

import math
from dataclasses import dataclass
from functools import lru_cache

SIDE_STEP = 16
"""Pixels. The VAE takes 8 to a latent, and the transformer 2 latents to a token."""
LONGEST_ASPECT = 4.0
"""Long side over short side of the longest bucket. Longer pictures are cropped to it."""


@dataclass(frozen=True, order=True)
class Bucket:
    """A width and height, in pixels, that several samples share."""

    width: int
    height: int


def bucket_for(width: int, height: int, resolution: int) -> Bucket:
    """The bucket whose shape is nearest, among those with about the area of a square of side `resolution`."""
    wanted = math.log(width / height)

    def distance(bucket: Bucket) -> tuple[float, float]:
        off_shape = abs(math.log(bucket.width / bucket.height) - wanted)
        off_area = abs(math.log(bucket.width * bucket.height / resolution**2))
        return round(off_shape, 9), off_area

    return min(buckets(resolution), key=distance)


@lru_cache(maxsize=32)
def buckets(resolution: int) -> tuple[Bucket, ...]:
    """Every bucket of about resolution² pixels: for each side, the other side that comes nearest to the area."""
    shortest = max(SIDE_STEP, _stepped(resolution / math.sqrt(LONGEST_ASPECT)))
    longest = max(shortest, _stepped(resolution * math.sqrt(LONGEST_ASPECT)))
    sides = ((side, _stepped(resolution**2 / side)) for side in range(shortest, longest + 1, SIDE_STEP))
    pairs = {pair for a, b in sides for pair in ((a, b), (b, a)) if max(pair) <= LONGEST_ASPECT * min(pair)}
    return tuple(sorted(Bucket(width=width, height=height) for width, height in pairs))


def _stepped(pixels: float) -> int:
    return max(SIDE_STEP, round(pixels / SIDE_STEP) * SIDE_STEP)
