"""How an image and what it was made from lie over each other: moved, of another size, or nothing changed.

By phase correlation (Kuglin and Hines, 1975) of the edges, in all three colours: an edit changes a part, and the rest
says how it lies. A trained LoRA repeats the move at every use, and a few uses later the border has grown.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 192
"""Pixels a side of the copies that are compared."""
ZOOMS = (0.9, 0.92, 0.93, 0.94, 0.95, 0.96, 0.97, 0.98, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 1.08, 1.1)
"""Sizes of the one beside the other that are tried."""
CLEAR = 0.12
"""Height of the peak, 1 being the same edges, from which the two show the same scene."""
CLEARER = 1.5
"""How many times as high the peak must be where it lies elsewhere, or at another size."""
LEAST_MOVE, MOST_MOVE = 2 / SIDE, 0.25
"""Shares of a side. Less is one pixel of the copies; more is another composition."""
SAME = 4.0
"""Difference of two images in any place, of 255, below which nothing was changed."""


@dataclass(frozen=True)
class PairStats:
    """How the one lies over the other."""

    moved: tuple[float, float] = (0.0, 0.0)
    """To the right and down, as shares of the sides."""
    zoom: float = 1.0
    """Size of what the image shows beside what was before."""
    same: bool = False
    """Whether nothing was changed."""


def measure_pair(before: Image.Image, after: Image.Image) -> PairStats:
    """Of two images of one shape; where they do not show the same scene, nothing is said."""
    one, other = (_small(image) for image in (before, after))
    if float(np.abs(one - other).max()) < SAME:
        return PairStats(same=True)
    peak, (down, across) = _peak(one, other)
    shrunk = before.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
    zoomed = {zoom: _peak(_zoomed(shrunk, zoom), other)[0] for zoom in ZOOMS}
    best = max(zoomed, key=lambda zoom: zoomed[zoom])
    if zoomed[best] >= CLEAR and zoomed[best] > CLEARER * peak:
        return PairStats(zoom=best)
    still, moved = _correlation(one, other)[0, 0], (across / SIDE, down / SIDE)
    far = LEAST_MOVE <= max(map(abs, moved)) <= MOST_MOVE
    return PairStats(moved=moved) if far and peak >= CLEAR and peak > CLEARER * max(still, 0.0) else PairStats()


def _small(image: Image.Image) -> NDArray[np.float64]:
    """SIDE x SIDE x 3."""
    return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX), np.float64)


def _zoomed(small: Image.Image, zoom: float) -> NDArray[np.float64]:
    """About the middle; beyond its sides the image is cut off, or black goes on."""
    edge = (SIDE - SIDE / zoom) / 2
    matrix = (1 / zoom, 0, edge, 0, 1 / zoom, edge)
    return np.asarray(small.transform((SIDE, SIDE), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR), float)


def _peak(one: NDArray[np.float64], other: NDArray[np.float64]) -> tuple[float, tuple[int, int]]:
    """The height of the correlation's peak, and where it is: rows and columns, either way."""
    found = _correlation(one, other)
    row, column = np.unravel_index(int(found.argmax()), found.shape)
    return float(found.max()), (_signed(int(row)), _signed(int(column)))


def _signed(place: int) -> int:
    return place - SIDE if place > SIDE // 2 else place


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Phase correlation: at each move of the second beside the first how well their edges agree, 1 at most."""
    spectra = [np.fft.fft2(_edges(each), axes=(0, 1)) for each in (one, other)]
    cross = (spectra[1] * spectra[0].conj()).sum(axis=2)
    strength = np.abs(cross)
    weight = strength / (strength + 1e-3 * strength.max() + 1e-9)  # frequencies with nothing in them say nothing
    phases = weight * cross / np.maximum(strength, 1e-9)
    return np.fft.ifft2(phases).real * phases.size / max(float(weight.sum()), 1.0)


def _edges(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Laplacian of each colour, faded out towards the sides."""
    inner = 4 * image - sum(np.roll(image, step, axis) for step in (1, -1) for axis in (0, 1))
    window = np.hanning(SIDE)
    return inner * np.outer(window, window)[:, :, None]
