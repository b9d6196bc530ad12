"""What a loss mask marks: how much of the image counts, and whether it looks like a mask at all.

Shape letters: H height, W width of the mask.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

MIDDLE = (13, 242)
"""Levels between which a grey is neither black nor white."""


@dataclass(frozen=True)
class MaskStats:
    """A mask, in numbers."""

    share: float
    """Of the image that counts: the mean weight, 0 to 1."""
    brightest: int
    """Level, 0 to 255."""
    greys: float
    """Share of the mask that is neither black nor white."""
    levels: int
    """Distinct levels."""
    rim: float
    """Mean weight along the four edges."""
    size: tuple[int, int]
    """Width and height."""


def measure_mask(mask: Image.Image) -> MaskStats:
    """Of a grey mask, mode L."""
    levels_HW = np.asarray(mask)
    edges = np.concatenate([levels_HW[0], levels_HW[-1], levels_HW[:, 0], levels_HW[:, -1]])
    grey = (levels_HW > MIDDLE[0]) & (levels_HW < MIDDLE[1])
    return MaskStats(
        share=float(levels_HW.mean() / 255),
        brightest=int(levels_HW.max()),
        greys=float(grey.mean()),
        levels=int(np.count_nonzero(np.bincount(levels_HW.ravel(), minlength=256))),
        rim=float(edges.mean() / 255),
        size=mask.size,
    )
