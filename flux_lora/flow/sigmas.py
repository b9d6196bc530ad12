"""How sigmas (noise levels; 0 is data, 1 is noise) are drawn in training: a quantile function each, and a shift.

A quantile function takes even numbers of (0, 1) to sigmas that are spread as it says. So the even numbers can be drawn
systematically, which keeps every part of the path in every few steps: sigma explains three quarters of the loss's
variance.
"""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

Quantile = Callable[[Tensor], Tensor]
"""even numbers in (0, 1) -> sigmas in [0, 1]"""

ENDS = (1e-5, 1 - 1e-5)
"""Sigmas keep a distance from 0 and 1, where there is nothing to learn."""
BETA_CELLS = 4096
"""In which the density of a beta distribution is summed."""
STRATA = 16
"""Equal parts of the path, each met once in as many exposures."""
ORDER = torch.tensor([int(f"{number:04b}"[::-1], 2) for number in range(STRATA)])
"""Of the strata: van der Corput's."""


def shifted(sigma: Tensor, shift: float) -> Tensor:
    """Move sigmas towards noise, as FLUX's scheduler does for large images.

        shift * s / (1 + (shift - 1) * s)

    1 leaves them alone; exp(mu) equals the scheduler's dynamic shift by mu.
    """
    return shift * sigma / (1 + (shift - 1) * sigma)


def logit_normal(mean: float = 0.0, std: float = 1.0) -> Quantile:
    """Mostly middle sigmas: the sigmoid of a normal distribution (Esser et al., Stable Diffusion 3, 2024)."""
    return lambda even: torch.sigmoid(mean + std * torch.special.ndtri(even))


def uniform() -> Quantile:
    """As often as a sampler's steps come by."""
    return lambda even: even


def mode(scale: float) -> Quantile:
    """Even, with more or (scale below 0) fewer in the middle; the same paper's mode sampling with heavy tails."""
    return lambda even: 1 - even - scale * (torch.cos(math.pi / 2 * even).square() - 1 + even)


def beta(alpha: float, beta: float) -> Quantile:
    """More of both ends where both numbers are below 1 (Lee et al., "Beta Sampling is All You Need", 2024).

    The density is summed over cells that narrow towards both ends; in each, the factor with the nearer pole is
    integrated exactly, and the other taken at the cell's middle.
    """
    places = torch.sin(torch.linspace(0, math.pi / 2, BETA_CELLS + 1, dtype=torch.float64)).square()
    middles = (places[1:] + places[:-1]) / 2
    rising = (places**alpha).diff() / alpha * (1 - middles) ** (beta - 1)
    falling = ((1 - places) ** beta).diff().neg() / beta * middles ** (alpha - 1)
    mass = torch.where(middles < 0.5, rising, falling)
    reached = torch.cat([torch.zeros(1, dtype=torch.float64), mass.cumsum(0) / mass.sum()])

    def quantile(even: Tensor) -> Tensor:
        right = torch.searchsorted(reached, even.double().contiguous()).clamp(1, BETA_CELLS)
        share = (even - reached[right - 1]) / (reached[right] - reached[right - 1])
        return torch.lerp(places[right - 1], places[right], share)

    return quantile


def sigmas_at(even: Tensor, quantile: Quantile, shift: float, unshifted_share: float = 0.0) -> Tensor:
    """The sigmas of even numbers, shifted but for a share of them, and away from both ends: float32.

    Even numbers below the share draw from the plain distribution, the others from the shifted one.
    """
    inside = even.double().clamp(1e-9, 1 - 1e-9)
    plain = inside < unshifted_share
    below, above = max(unshifted_share, 1e-9), max(1 - unshifted_share, 1e-9)
    within = torch.where(plain, inside / below, (inside - unshifted_share) / above)
    drawn = quantile(within)
    return torch.where(plain, drawn, shifted(drawn, shift)).float().clamp(*ENDS)


def systematic(first: int, count: int, generator: Generator) -> Tensor:
    """Even numbers for the exposures first, first + 1, ...: each in its stratum, at random within it.

    Strata take turns in the order of van der Corput's sequence (1, 9, 5, 13, ... of 16), so that also halves, quarters
    and eighths of the path are met within one of their share in any window of exposures.
    """
    strata = ORDER[(first + torch.arange(count)) % STRATA]
    return (strata + torch.rand(count, generator=generator)) / STRATA
