"""The loss curve as numbers in percent of a box, so that a page can draw it at any size."""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_POINTS = 400
WINDOW_SHARE = 20
"""The smoothed line is a mean over 1/20 of the run: flow losses jump with the time that was drawn."""
OUTLIERS = 0.02


@dataclass(frozen=True)
class AxisTick:
    """A label and how far along its axis it stands, in percent from the left or the top."""

    label: str
    at: float


@dataclass(frozen=True)
class Drawing:
    """Two SVG point lists in a 100 x 100 box, and the labels around it."""

    raw: str
    smooth: str
    steps: tuple[AxisTick, ...]
    losses: tuple[AxisTick, ...]
    first: float
    last: float


def draw(points: Sequence[tuple[int, float]]) -> Drawing:
    """Lay out (step, loss) pairs; the few highest losses are cut at the top edge."""
    steps = [step for step, _ in points]
    losses = [loss for _, loss in points]
    smooth = smoothed(losses)
    kept = sorted(losses)[: max(1, round(len(losses) * (1 - OUTLIERS)))]
    low, high = min(kept[0], *smooth, kept[-1]), max(kept[-1], *smooth)
    room = (high - low) or 1.0
    low, high = max(0.0, low - 0.06 * room), high + 0.06 * room

    def place(values: Sequence[float]) -> str:
        every = max(1, len(values) // MOST_POINTS)
        chosen = [*range(0, len(values) - 1, every), len(values) - 1]
        return " ".join(f"{along(steps[n], steps):.2f},{_down(values[n], low, high):.2f}" for n in chosen)

    return Drawing(
        raw=place(losses),
        smooth=place(smooth),
        steps=tuple(AxisTick(f"{step:,.0f}", along(step, steps)) for step in _rounds(0, steps[-1]) if step >= steps[0]),
        losses=tuple(AxisTick(f"{loss:g}", _down(loss, low, high)) for loss in _rounds(low, high)),
        first=smooth[0],
        last=smooth[-1],
    )


def smoothed(losses: Sequence[float]) -> list[float]:
    """A centred mean; at the ends the window shrinks evenly instead of leaning to one side."""
    half = max(1, len(losses) // WINDOW_SHARE // 2)
    sums = [0.0]
    for loss in losses:
        sums.append(sums[-1] + loss)
    means = []
    for n in range(len(losses)):
        reach = min(half, max(n, half // 2), max(len(losses) - 1 - n, half // 2))
        start, stop = max(0, n - reach), min(len(losses), n + reach + 1)
        means.append((sums[stop] - sums[start]) / (stop - start))
    return means


def along(step: float, steps: Sequence[int]) -> float:
    """How far a step is between the first and the last, in percent."""
    return 100 * (step - steps[0]) / max(1, steps[-1] - steps[0])


def _down(value: float, low: float, high: float) -> float:
    return 100 * (high - min(max(value, low), high)) / (high - low)


def _rounds(low: float, high: float) -> list[float]:
    """About four round numbers between low and high."""
    rough = (high - low) / 4
    power = 10.0 ** _exponent(rough)
    unit = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    first = -(-low // unit)
    count = int((high - first * unit) / unit + 1e-9) + 1
    return [round((first + n) * unit, 10) for n in range(count)]


def _exponent(number: float) -> int:
    return int(f"{number:e}".split("e")[1])
