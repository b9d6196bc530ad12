"""Laying a photo's subject over an image: its places keep their order, and each may shift a little.

An Outline is a set of a photo's places about the subject's middle. It is laid over an image with its middle at every
other place, in every size of SIZES, and each place takes the best match within TOLERANCE of where it should be: a
deformable template (Felzenszwalb et al., "Object Detection with Discriminatively Trained Part Based Models", 2010).

Shape letters: T places of an image, K places of an outline, L layings (sizes x middles), D features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from flux_lora.evaluate.features import GRID

SIZES = (0.55, 0.7, 0.85, 1.0, 1.2, 1.45, 1.75)
"""Of the subject in the image, as a share of its size in the photo."""
TOLERANCE = 0.22
"""How far a place may stand from where it should be, as a share of the outline's spread."""
STRIDE = 2
"""Places from one middle to the next."""
MIDDLES = (GRID // STRIDE) ** 2
ABSENT = -1.0
"""Match of a place that would lie outside of the image."""


@dataclass(frozen=True)
class Outline:
    """Places about the subject's middle."""

    tokens: Tensor  # KD
    offsets: Tensor  # K2, to the right and downwards; the sides of a square image are GRID long
    spread: float
    """Root mean square distance of the subject's places from its middle."""

    def laid_over(self, tokens_TD: Tensor, aspect: float) -> Tensor:
        """The match of each place wherever the outline is laid over an image: KL."""
        similar_KGG = (self.tokens @ tokens_TD.T).unflatten(1, (GRID, GRID))
        return torch.cat([self._in_size(similar_KGG, aspect, size) for size in SIZES], dim=1)

    def laid_at(self, tokens_TD: Tensor, aspect: float, laying: int) -> Tensor:
        """The match of each place in one of the layings: K."""
        similar_KGG = (self.tokens @ tokens_TD.T).unflatten(1, (GRID, GRID))
        return self._in_size(similar_KGG, aspect, SIZES[laying // MIDDLES])[:, laying % MIDDLES]

    def _in_size(self, similar_KGG: Tensor, aspect: float, size: float) -> Tensor:
        """K x MIDDLES."""
        stretch = stretch_of(aspect)
        across, down = (round(max(1.0, TOLERANCE * size * self.spread) * each) for each in stretch)
        best_KT = greatest_within(greatest_within(similar_KGG, across, dim=2), down, dim=1).flatten(1)
        right_K, below_K = (size * each * self.offsets[:, axis] for axis, each in enumerate(stretch))
        middles = torch.arange(0, GRID, STRIDE)
        row_KMM = middles[None, :, None] + below_K.round().long()[:, None, None]
        column_KMM = middles[None, None, :] + right_K.round().long()[:, None, None]
        inside = (row_KMM >= 0) & (row_KMM < GRID) & (column_KMM >= 0) & (column_KMM < GRID)
        at_KMM = row_KMM.clamp(0, GRID - 1) * GRID + column_KMM.clamp(0, GRID - 1)
        return best_KT.gather(1, at_KMM.flatten(1)).where(inside.flatten(1), ABSENT)


def greatest_within(values: Tensor, radius: int, *, dim: int) -> Tensor:
    """The greatest of the values up to so many places away along a dimension, by doubling: the maximum of two windows
    of one length is that of a window twice as long. torch's max_pool2d takes ten times as long on a CPU."""
    length, window = values.shape[dim], 1
    padding = [0, 0] * (values.dim() - 1 - dim) + [radius, radius]
    greatest = pad(values, padding, value=-torch.inf)
    while window < 2 * radius + 1:
        step = min(window, 2 * radius + 1 - window)
        left = greatest.shape[dim] - step
        greatest = torch.maximum(greatest.narrow(dim, 0, left), greatest.narrow(dim, step, left))
        window += step
    assert greatest.shape[dim] == length
    return greatest


def stretch_of(aspect: float) -> tuple[float, float]:
    """Places across and down for each unit of length, of an image with this width / height."""
    return aspect**-0.5, aspect**0.5


def coordinates(aspect: float) -> Tensor:
    """Where the places of an image stand, in units of length: T2, to the right and downwards."""
    across, down = stretch_of(aspect)
    rows, columns = torch.meshgrid(torch.arange(GRID) + 0.5, torch.arange(GRID) + 0.5, indexing="ij")
    return torch.stack([columns.flatten() / across, rows.flatten() / down], dim=-1)
