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

    @property
    def area(self) -> int:
        """Pixels."""
        return self.width * self.height

    @property
    def aspect(self) -> float:
        """Width over height."""
        return self.width / self.height


@lru_cache(maxsize=32)
def buckets(resolution: int, longest_aspect: float = LONGEST_ASPECT) -> tuple[Bucket, ...]:
    """Every bucket of about resolution² pixels: for each side, the other side that comes nearest to the area."""
    shortest = max(SIDE_STEP, _stepped(resolution / math.sqrt(longest_aspect)))
    longest = max(shortest, _stepped(resolution * math.sqrt(longest_aspect)))
    sides = ((side, _stepped(resolution**2 / side)) for side in range(shortest, longest + 1, SIDE_STEP))
    pairs = {pair for a, b in sides for pair in ((a, b), (b, a)) if max(pair) <= longest_aspect * min(pair)}
    return tuple(sorted(Bucket(width=width, height=height) for width, height in pairs))


def around(width: float, height: float, longest_aspect: float = LONGEST_ASPECT) -> tuple[Bucket, ...]:
    """The few buckets nearest to a width and height, the largest of them no smaller than either."""
    pairs = ((a, b) for a in _steps_near(width) for b in _steps_near(height))
    return tuple(sorted({_shortened(a, b, longest_aspect) for a, b in pairs}))


def _steps_near(side: float) -> tuple[int, ...]:
    below = math.floor(side / SIDE_STEP + 1e-9)
    above = math.ceil(side / SIDE_STEP - 1e-9)
    return tuple({SIDE_STEP * max(1, steps) for steps in (below - 1, below, above)})


def _shortened(width: int, height: int, longest_aspect: float) -> Bucket:
    """The long side made shorter, where the aspect would be beyond the longest."""

    def limit(other: int) -> int:
        return SIDE_STEP * int(longest_aspect * other / SIDE_STEP + 1e-9)

    return Bucket(width=min(width, limit(height)), height=min(height, limit(width)))


def _stepped(pixels: float) -> int:
    return max(SIDE_STEP, round(pixels / SIDE_STEP) * SIDE_STEP)
