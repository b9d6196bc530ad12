"""Which photos stand out by their loss: by the median photo and the median deviation from it."""

from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

FEWEST_IMAGES, FEWEST_LOOKS = 8, 6
DEVIATIONS = 4.0
"""From the median photo, in deviations of a normal distribution."""
WORSE = 1.25
"""And so many times as much, at least."""
NORMAL = 1.4826
"""Standard deviation of a normal distribution for each of its median absolute deviation."""


def mean_losses(steps: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Number of an image -> its mean loss in the second half of these lines of metrics.jsonl, as a share of the base's
    at its sigmas: what sigma does to a loss is far more than what a wrong caption does."""
    found: dict[int, list[float]] = {}
    for step in (step for step in steps[len(steps) // 2 :] if step.get("finite", True)):
        for sample, loss in zip(step.get("samples", ()), step.get("sample_losses", ()), strict=True):
            found.setdefault(sample, []).append(loss)
    return {sample: mean(losses) for sample, losses in found.items() if len(losses) >= FEWEST_LOOKS}


def hardest(means: Mapping[int, float]) -> list[tuple[int, float]]:
    """Images that stand out, with how many times the median photo's loss theirs is, the worst first."""
    if len(means) < FEWEST_IMAGES:
        return []
    middle = median(means.values())
    deviation = NORMAL * median(abs(each - middle) for each in means.values())
    bound = max(middle + DEVIATIONS * deviation, WORSE * middle)
    out = [(sample, each / middle) for sample, each in means.items() if each > bound]
    return sorted(out, key=lambda pair: -pair[1])
