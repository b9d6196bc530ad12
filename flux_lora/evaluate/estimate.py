"""Means with bootstrap intervals. Images of one prompt resemble each other, so whole prompts are drawn, not images.

Shape letters: P prompts, S seeds, R resamples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

RESAMPLES = 2000
SEED = 20_240_801
TAIL = 0.025
"""Cut at each end: intervals hold 95 of 100 resamples."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, and the values it is the mean of: each[prompt][seed]."""

    value: float
    low: float
    high: float
    each: tuple[tuple[float, ...], ...] = ()


def estimate(each_PS: Tensor) -> Estimate:
    """The mean over prompts and seeds, and its bootstrap interval."""
    means_P = each_PS.mean(dim=1)
    low, high = interval(lambda draws_RP: means_P[draws_RP].mean(dim=1), len(means_P))
    return Estimate(float(means_P.mean()), low, high, _nested(each_PS))


def ratio(each_PS: Tensor, reference_PS: Tensor) -> Estimate:
    """The mean as a share of a reference's mean on the same prompts."""
    means_P, references_P = each_PS.mean(dim=1), reference_PS.mean(dim=1)

    def share(draws_RP: Tensor) -> Tensor:
        return means_P[draws_RP].mean(dim=-1) / references_P[draws_RP].mean(dim=-1)

    low, high = interval(share, len(means_P))
    all_prompts = torch.arange(len(means_P))
    return Estimate(float(share(all_prompts)), low, high, _nested(each_PS / references_P.mean()))


def difference(one: Estimate, other: Estimate) -> Estimate:
    """How much more one has than the other, image by image (same prompts, same seeds)."""
    return estimate(torch.tensor(one.each) - torch.tensor(other.each))


def interval(statistic: Callable[[Tensor], Tensor], count: int) -> tuple[float, float]:
    """Percentile bootstrap: the middle 95 % of a statistic (prompt numbers RP -> R). Seeded, so it repeats."""
    generator = torch.Generator().manual_seed(SEED)
    draws_RP = torch.randint(count, (RESAMPLES, count), generator=generator)
    low, high = torch.quantile(statistic(draws_RP).double(), torch.tensor([TAIL, 1 - TAIL], dtype=torch.double))
    return float(low), float(high)


def _nested(values_PS: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values_PS.tolist())
