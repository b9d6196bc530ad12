"""How much a picture has to show: sharpness, detail finer than half its size, and the blocks of JPEG.

Everything here reads grey values: HW, float, 0 to 255.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.float32]

TILES = 8
"""A picture is looked at in this many tiles a side: one sharp eye before a soft ground is a sharp picture."""
BUSIEST = 0.75
"""Only the quarter of the tiles with the strongest edges is heard; a clear sky says nothing about the lens."""
LEAST_SIDE = 48
"""Pixels. Anything smaller is not judged: its tiles would be a few pixels wide."""
REBLUR = 9
"""Pixels. Blurring once more takes much from a sharp edge and little from a soft one."""
NOISE = 2.0
"""Grey levels. Smaller steps from pixel to pixel are taken for noise, which is always sharp."""
FEWEST_EDGES = 0.03
"""A direction with less than this share of the other one's edges is not heard: upright stripes have none across."""
JPEG_BLOCK = 8
ROUNDING = 0.3
"""Mean square of what two resizes lose by rounding to whole grey levels."""


def sharpness(grey: Grey) -> float:
    """The share of its edges that a second blur takes away: 0.5 to 0.9 in a sharp photo, under 0.4 in a blurred one.

    The duller of the two directions counts, so that a shaken camera shows. 1 where there is nothing to see.
    """
    if min(grey.shape) < LEAST_SIDE:
        return 1.0
    calm = _smoothed(_smoothed(grey).T).T
    sides = [_lost_to_blur(calm), _lost_to_blur(calm.T)]
    strongest = max(edges for _, edges in sides)
    return min((lost for lost, edges in sides if edges and edges >= FEWEST_EDGES * strongest), default=1.0)


def finer_than_half(grey: Grey) -> float:
    """How much of its edges is finer than half its size could hold: about 0.5, and under 0.28 once it was doubled."""
    if min(grey.shape) < LEAST_SIDE:
        return 1.0
    finest = _tiles(np.square(grey - _through(grey, 2))) - ROUNDING
    fine = _tiles(np.square(grey - _through(grey, 4)))
    if fine.max() < 1:
        return 1.0
    busiest = fine >= np.quantile(fine, BUSIEST)
    return float(np.sqrt(np.median(finest.clip(0)[busiest] / fine.clip(0.1)[busiest])))


def blockiness(grey: Grey) -> float:
    """How much more the picture jumps at every eighth pixel than between: 1 without JPEG, about 2 at quality 30.

    Wherever the grid starts, so that a cropped one shows too. A jump under one grey level is not seen.
    """
    if min(grey.shape) < LEAST_SIDE:
        return 1.0
    return min(_grid(grey), _grid(grey.T))


def _lost_to_blur(grey: Grey) -> tuple[float, float]:
    """Along the rows: the share of the edges that a blur takes, and how much of edges there is."""
    step = np.abs(np.diff(grey, axis=1))
    step_after = np.abs(np.diff(_mean_of_neighbours(grey, REBLUR), axis=1))
    real = step > NOISE
    edges = _tiles(step * real)
    lost = _tiles((step - step_after).clip(0) * real)
    if not edges.any():
        return 1.0, 0.0
    busiest = edges >= max(float(np.quantile(edges, BUSIEST)), 1e-6)
    return float(np.quantile(lost[busiest] / edges[busiest], BUSIEST)), float(edges.sum())


def _grid(grey: Grey) -> float:
    """The jump at the columns of the strongest phase, over the jump at the others.

    The median over the blocks: the edges of a chequered floor fall on a few columns, those of JPEG on every eighth.
    """
    step = np.diff(grey, axis=1)
    jump = np.abs(step[:, 1:-1] - (step[:, :-2] + step[:, 2:]) / 2).mean(axis=0)
    whole = len(jump) // JPEG_BLOCK * JPEG_BLOCK
    phases = jump[:whole].reshape(-1, JPEG_BLOCK)
    phases = np.median(phases, axis=0)
    strongest = float(phases.max())
    others = (float(phases.sum()) - strongest) / (JPEG_BLOCK - 1)
    return (strongest + 1) / (others + 1)


def _through(grey: Grey, times: int) -> Grey:
    """The picture made so many times smaller and brought back."""
    height, width = grey.shape
    small = (max(1, width // times), max(1, height // times))
    picture = Image.fromarray(grey)
    return np.asarray(picture.resize(small, Image.Resampling.LANCZOS).resize((width, height), Image.Resampling.LANCZOS))


def _smoothed(grey: Grey) -> Grey:
    """Each pixel with its two neighbours in the row, 1 2 1: takes most of the noise and little of an edge."""
    wide = np.pad(grey, ((0, 0), (1, 1)), mode="edge")
    return np.asarray((wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]) / 4, dtype=np.float32)


def _mean_of_neighbours(grey: Grey, count: int) -> Grey:
    """Along the rows, by running sums."""
    half = count // 2
    sums = np.cumsum(np.pad(grey, ((0, 0), (half + 1, half)), mode="edge"), axis=1, dtype=np.float64)
    return ((sums[:, count:] - sums[:, :-count]) / count).astype(np.float32)


def _tiles(values: Grey) -> Grey:
    """The mean of each tile."""
    height, width = (side - side % TILES for side in values.shape)
    return values[:height, :width].reshape(TILES, height // TILES, TILES, width // TILES).mean(axis=(1, 3))
