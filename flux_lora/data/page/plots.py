"""Sizes and buckets in a square of two logarithmic axes, in percent, so that a page can draw it anywhere."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from math import log2, sqrt

TICKS = (64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16384)
ROOM = 1.15
"""The axes reach this much beyond the smallest and the largest side."""
FEWEST_TICKS_APART = 9.0
"""In percent of an axis: labels nearer than this would stand on each other."""


@dataclass(frozen=True)
class Dot:
    """One size, and how many pictures have it."""

    x: float
    y: float
    radius: float
    label: str
    enlarged: bool = False


@dataclass(frozen=True)
class SizeTick:
    """A number of pixels and how far along its axis it stands."""

    label: str
    at: float


@dataclass(frozen=True)
class Plot:
    """Sizes as dots, buckets as squares, and the numbers on both axes, which are the same."""

    sizes: tuple[Dot, ...]
    buckets: tuple[Dot, ...]
    ticks: tuple[SizeTick, ...]


def plot(sizes: Iterable[tuple[int, int, bool]], buckets: Iterable[tuple[int, int]]) -> Plot:
    """Lay out the sizes (width, height, whether it is enlarged) and the buckets they go to. y counts from the top."""
    counted, targets = Counter(sizes), Counter(buckets)
    sides = [side for width, height, *_ in (*counted, *targets) for side in (width, height)]
    low, high = log2(min(sides) / ROOM), log2(max(sides) * ROOM)

    def along(side: float) -> float:
        return 100 * (log2(side) - low) / (high - low)

    def dot(width: int, height: int, count: int, *, enlarged: bool = False) -> Dot:
        what = f"{width}×{height}: {count} picture{'s' * (count != 1)}"
        return Dot(along(width), 100 - along(height), 3 + sqrt(count), what, enlarged)

    return Plot(
        sizes=tuple(dot(width, height, n, enlarged=grown) for (width, height, grown), n in sorted(counted.items())),
        buckets=tuple(dot(width, height, n) for (width, height), n in sorted(targets.items())),
        ticks=tuple(_spaced(SizeTick(str(side), along(side)) for side in TICKS if low <= log2(side) <= high)),
    )


def _spaced(ticks: Iterable[SizeTick]) -> list[SizeTick]:
    kept: list[SizeTick] = []
    for tick in ticks:
        if not kept or tick.at - kept[-1].at >= FEWEST_TICKS_APART:
            kept.append(tick)
    return kept
