"""Laying a photo's subject over an image: its places keep their order, and each may shift a little.

An Outline is a set of a photo's places about the subject's middle. It is laid over an image with its middle at every
other place, in every size of SIZES, and each place takes the best match within TOLERANCE of where it should be: a
deformable template (Felzenszwalb et al., "Object Detection with Discriminatively Trained Part Based Models", 2010).

Shape letters: T places of an image, K places of an outline, L layings (sizes x middles), D features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

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
        across, down = (2 * round(max(1.0, TOLERANCE * size * self.spread) * each) + 1 for each in stretch)
        wide = max_pool2d(similar_KGG[None], (1, across), stride=1, padding=(0, across // 2))
        best_KT = max_pool2d(wide, (down, 1), stride=1, padding=(down // 2, 0))[0].flatten(1)
        right_K, below_K = (size * each * self.offsets[:, axis] for axis, each in enumerate(stretch))
        middles = torch.arange(0, GRID, STRIDE)
        row_KMM = middles[None, :, None] + below_K.round().long()[:, None, None]
        column_KMM = middles[None, None, :] + right_K.round().long()[:, None, None]
        inside = (row_KMM >= 0) & (row_KMM < GRID) & (column_KMM >= 0) & (column_KMM < GRID)
        at_KMM = row_KMM.clamp(0, GRID - 1) * GRID + column_KMM.clamp(0, GRID - 1)
        return best_KT.gather(1, at_KMM.flatten(1)).where(inside.flatten(1), ABSENT)


def stretch_of(aspect: float) -> tuple[float, float]:
    """Places across and down for each unit of length, of an image with this width / height."""
    return aspect**-0.5, aspect**0.5


def coordinates(aspect: float) -> Tensor:
    """Where the places of an image stand, in units of length: T2, to the right and downwards."""
    across, down = stretch_of(aspect)
    rows, columns = torch.meshgrid(torch.arange(GRID) + 0.5, torch.arange(GRID) + 0.5, indexing="ij")
    return torch.stack([columns.flatten() / across, rows.flatten() / down], dim=-1)
