"""Plots of the report as numbers: positions in a 100 x 100 box, which the page draws without a script.

draw_loss: the loss over the steps. draw_scores: each leading score over the steps, with its interval. draw_tradeoff:
likeness against leakage, a dot for each candidate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from flux_lora.evaluate.choice import Choice, ChoiceLimits, limit_on
from flux_lora.evaluate.scores import METRICS, Metric, Score

MOST_POINTS = 400
"""A line of the plot has no more than about twice as many."""
WINDOW_SHARE = 20
"""The smoothed line is a mean over 1/20 of the run: flow losses jump with the sigma that was drawn."""
OUTLIERS = 0.02
"""Share of the highest losses that do not widen the axis."""


@dataclass(frozen=True)
class AxisTick:
    """A label and its position in percent from the left or the top."""

    label: str
    at: float


@dataclass(frozen=True)
class LossPlot:
    """The loss plot: two SVG point lists in a 100 x 100 box, its axes, and the smoothed loss at both ends."""

    raw: str
    smooth: str
    steps: tuple[AxisTick, ...]
    losses: tuple[AxisTick, ...]
    first: float
    last: float


def draw_loss(points: Sequence[tuple[int, float]]) -> LossPlot:
    """Plot (step, loss) pairs; the few highest losses are cut at the top edge."""
    steps = [step for step, _ in points]
    losses = [loss for _, loss in points]
    smooth = smoothed(losses)
    kept = sorted(losses)[: max(1, round(len(losses) * (1 - OUTLIERS)))]
    low, high = min(kept[0], *smooth, kept[-1]), max(kept[-1], *smooth)
    room = (high - low) or 1.0
    low, high = max(0.0, low - 0.06 * room), high + 0.06 * room

    def polyline(values: Sequence[float]) -> str:
        every = max(1, len(values) // MOST_POINTS)
        indices = [*range(0, len(values) - 1, every), len(values) - 1]
        return " ".join(f"{along(steps[n], steps):.2f},{_down(values[n], low, high):.2f}" for n in indices)

    return LossPlot(
        raw=polyline(losses),
        smooth=polyline(smooth),
        steps=tuple(AxisTick(f"{step:,.0f}", along(step, steps)) for step in _rounds(0, steps[-1]) if step >= steps[0]),
        losses=tuple(AxisTick(f"{loss:g}", _down(loss, low, high)) for loss in _rounds(low, high)),
        first=smooth[0],
        last=smooth[-1],
    )


def smoothed(losses: Sequence[float]) -> list[float]:
    """Centred moving mean; at the ends the window shrinks on both sides."""
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
    """Position of a step between the first and the last, in percent."""
    return 100 * (step - steps[0]) / max(1, steps[-1] - steps[0])


def _down(value: float, low: float, high: float) -> float:
    return 100 * (high - min(max(value, low), high)) / (high - low)


def _rounds(low: float, high: float) -> list[float]:
    """About four round numbers between low and high, as axis ticks."""
    rough = (high - low) / 4
    power = 10.0 ** int(f"{rough:e}".split("e")[1])
    unit = next(step * power for step in (1, 2, 5, 10) if step * power >= rough)
    first = -(-low // unit)
    count = int((high - first * unit) / unit + 1e-9) + 1
    return [round((first + n) * unit, 10) for n in range(count)]


@dataclass(frozen=True)
class ScorePlot:
    """A score over the steps: SVG point lists of its mean and of its interval, and where each step and limit stands."""

    title: str
    line: str
    band: str
    points: tuple[tuple[int, float, float], ...]
    """Step, across, down."""
    limit: float | None
    """Down, of the bound that it has to keep."""


def draw_scores(scores: Sequence[Score], choice: Choice, limits: ChoiceLimits) -> tuple[ScorePlot, ...]:
    """The scores that lead the page and those with a limit, at the chosen strength; nothing for a single step."""
    those = sorted((score for score in scores if score.strength == choice.strength), key=lambda score: score.step)
    shown = [metric for metric in METRICS if metric.leads or limit_on(metric)]
    return tuple(_score_plot(metric, those, limits) for metric in shown) if len(those) > 1 else ()


def _score_plot(metric: Metric, scores: Sequence[Score], limits: ChoiceLimits) -> ScorePlot:
    steps = [score.step for score in scores]
    found = [score.of(metric) for score in scores]
    across = [along(step, steps) for step in steps]
    means, lows, highs = ([_down(vars(each)[name], 0, 1) for each in found] for name in ("value", "low", "high"))
    limit = limit_on(metric)
    return ScorePlot(
        metric.title,
        _points(across, means),
        f"{_points(across, highs)} {_points(across[::-1], lows[::-1])}",
        tuple(zip(steps, across, means, strict=True)),
        _down(limit.bound(limits), 0, 1) if limit else None,
    )


def _points(across: Sequence[float], down: Sequence[float]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in zip(across, down, strict=True))


@dataclass(frozen=True)
class TradeoffDot:
    """A candidate: upwards how much it is the subject, to the right how much it changes what does not ask for it."""

    label: str
    across: float
    down: float
    chosen: bool
    beaten: bool
    """Whether another is at least as alike and leaks no more."""
    labelled: bool = True
    """Whether its label has room."""


@dataclass(frozen=True)
class Tradeoff:
    """All candidates by likeness and leakage, and what the axes reach from and to."""

    dots: tuple[TradeoffDot, ...]
    likeness: tuple[float, float]
    leakage: tuple[float, float]


NARROWEST = 0.1
"""Share that an axis of the trade-off spans at least."""
LABEL_ROOM = (26.0, 9.0)
"""Across and down, of a label in the box."""


def draw_tradeoff(scores: Sequence[Score], choice: Choice) -> Tradeoff | None:
    """Likeness against leakage; those that are not beaten are the Pareto front. None for a single candidate."""
    if len(scores) < 2:
        return None
    places = [(score["leakage"].value, score["likeness"].value) for score in scores]
    leakage, (lowest, highest) = (_axis([place[axis] for place in places]) for axis in (0, 1))
    likeness = (lowest, min(highest, 1.0))
    dots = [
        TradeoffDot(
            score.candidate,
            100 * (x - leakage[0]) / (leakage[1] - leakage[0]),
            _down(y, *likeness),
            (score.step, score.strength) == (choice.step, choice.strength),
            any(a <= x and b >= y and (a, b) != (x, y) for a, b in places),
        )
        for score, (x, y) in zip(scores, places, strict=True)
    ]
    return Tradeoff(tuple(_with_room(dots)), likeness, leakage)


def _axis(values: Sequence[float]) -> tuple[float, float]:
    """From a little below the least to a little above the most."""
    room = max(NARROWEST, max(values) - min(values)) * 0.1
    middle, half = (max(values) + min(values)) / 2, max(NARROWEST, max(values) - min(values)) / 2 + room
    return middle - half, middle + half


def _with_room(dots: Sequence[TradeoffDot]) -> list[TradeoffDot]:
    """The chosen one and the front have labels, as far as they do not lie over each other."""
    shown: list[TradeoffDot] = []
    for dot in sorted(dots, key=lambda each: (not each.chosen, each.beaten)):
        near = any(
            other.labelled
            and abs(other.across - dot.across) < LABEL_ROOM[0]
            and abs(other.down - dot.down) < LABEL_ROOM[1]
            for other in shown
        )
        shown.append(replace(dot, labelled=dot.chosen or not (dot.beaten or near)))
    return shown
