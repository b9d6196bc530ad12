"""How sigmas (noise levels; 0 is data, 1 is noise) are drawn in training."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor

SigmaSampler = Callable[[int, Generator], Tensor]
"""(count, generator) -> times, each in (0, 1)"""

NEAREST_END = 1e-5
"""Times keep this distance from 0 and 1, where there is nothing to learn."""


def shifted(sigma: Tensor, shift: float) -> Tensor:
    """Move times towards noise, as FLUX's scheduler does for large images.

        shift * t / (1 + (shift - 1) * t)

    1 leaves them alone; exp(mu) equals the scheduler's dynamic shift by mu.
    """
    return shift * sigma / (1 + (shift - 1) * sigma)


def logit_normal(mean: float, std: float, shift: float) -> SigmaSampler:
    """Mostly middle times: sigmoid of a normal draw, then shifted."""

    def sample(count: int, generator: Generator) -> Tensor:
        normal = torch.randn(count, generator=generator)
        sigma = shifted(torch.sigmoid(mean + std * normal), shift)
        return sigma.clamp(NEAREST_END, 1 - NEAREST_END)

    return sample


def uniform(shift: float) -> SigmaSampler:
    """As often as a sampler's steps come by: even, then shifted."""

    def sample(count: int, generator: Generator) -> Tensor:
        sigma = shifted(torch.rand(count, generator=generator), shift)
        return sigma.clamp(NEAREST_END, 1 - NEAREST_END)

    return sample
