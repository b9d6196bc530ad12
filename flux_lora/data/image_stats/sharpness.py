"""Sharpness, how far an image was enlarged, and JPEG blockiness.

Grey values are HW, float32, 0 to 255; tiles are TILES by TILES. Shape letters: H W height and width.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Grey = NDArray[np.float32]

TILES = 8
"""Tiles a side that an image is measured in: one sharp eye before a soft background is a sharp image."""
BUSIEST = 0.75
"""Quantile. Only the quarter of the tiles with the strongest edges counts: a clear sky has none."""
LEAST_SIDE = 48
"""Pixels. Smaller images are not measured: their tiles would be a few pixels wide."""
REBLUR = 9
"""Pixels of the box blur. It takes much from a sharp edge and little from a soft one."""
NOISE = 2.0
"""Grey levels. Smaller steps between neighbours count as noise, which is always sharp."""
FEWEST_EDGES = 0.03
"""A direction with less than this share of the other one's edges does not count: upright stripes have none across."""
LEAST_FINE = 0.28
"""Share of the fine detail that half the size cannot hold, under which the image was enlarged by two."""
NOTHING_FINE = 1.0
JPEG_BLOCK = 8
ROUNDING = 0.3
"""Mean square error of two resizes from rounding to whole grey levels."""


def sharpness(grey: Grey) -> float:
    """The share of its edges that a second blur takes away: 0.5 to 0.9 in a sharp photo, under 0.4 in a blurred one.

    The blurrier of the two directions counts, so that camera shake shows. 1 where there are no edges.
    """
    if min(grey.shape) < LEAST_SIDE:
        return 1.0
    calm = _smoothed(_smoothed(grey).T).T
    sides = [_lost_to_blur(calm), _lost_to_blur(calm.T)]
    strongest = max(edges for _, edges in sides)
    return min((lost for lost, edges in sides if edges and edges >= FEWEST_EDGES * strongest), default=1.0)


def enlarged(grey: Grey) -> int:
    """How many times smaller a copy holds all that is there: 4, 2, or 1 for an image with detail of its own."""
    if min(grey.shape) < LEAST_SIDE:
        return 1
    half, quarter = finer_than_half(grey), finer_than_half(_halved(grey))
    if quarter < LEAST_FINE and (half < LEAST_FINE or half == NOTHING_FINE):
        return 4
    return 2 if half < LEAST_FINE else 1


def finer_than_half(grey: Grey) -> float:
    """Share of the fine detail that half the size could not hold: about 0.5, and under 0.28 in an image enlarged by 2.

    NOTHING_FINE where there is no detail, or too few pixels.
    """
    if min(grey.shape) < LEAST_SIDE:
        return NOTHING_FINE
    finest = tiles(np.square(grey - _reduced_and_back(grey, 2))) - ROUNDING
    fine = tiles(np.square(grey - _reduced_and_back(grey, 4)))
    if fine.max() < 1:
        return NOTHING_FINE
    busiest = fine >= np.quantile(fine, BUSIEST)
    return float(np.sqrt(np.median(finest.clip(0)[busiest] / fine.clip(0.1)[busiest])))


def blockiness(grey: Grey) -> float:
    """Step between neighbours at every eighth pixel over that elsewhere: 1 without JPEG, about 2 at quality 30.

    Wherever the grid starts, so that a cropped JPEG shows too. Steps under one grey level hardly count.
    """
    if min(grey.shape) < LEAST_SIDE:
        return 1.0
    return min(_block_steps(grey), _block_steps(grey.T))


def _lost_to_blur(grey: Grey) -> tuple[float, float]:
    """Along the rows: the share of the edges that a blur removes, and the sum of the edges."""
    step = np.abs(np.diff(grey, axis=1))
    step_after = np.abs(np.diff(_mean_of_neighbours(grey, REBLUR), axis=1))
    real = step > NOISE
    edges = tiles(step * real)
    lost = tiles((step - step_after).clip(0) * real)
    if not edges.any():
        return 1.0, 0.0
    busiest = edges >= max(float(np.quantile(edges, BUSIEST)), 1e-6)
    return float(np.quantile(lost[busiest] / edges[busiest], BUSIEST)), float(edges.sum())


def _block_steps(grey: Grey) -> float:
    """The step at the columns of the strongest phase of JPEG_BLOCK, over the mean step at the other phases.

    The median over the blocks: the edges of a chequered floor fall on a few columns, those of JPEG on every eighth.
    """
    step = np.diff(grey, axis=1)
    jump = np.abs(step[:, 1:-1] - (step[:, :-2] + step[:, 2:]) / 2).mean(axis=0)
    end = len(jump) // JPEG_BLOCK * JPEG_BLOCK
    phases = np.median(jump[:end].reshape(-1, JPEG_BLOCK), axis=0)
    strongest = float(phases.max())
    others = (float(phases.sum()) - strongest) / (JPEG_BLOCK - 1)
    return (strongest + 1) / (others + 1)


def _halved(grey: Grey) -> Grey:
    """By Lanczos: HW -> H/2 W/2."""
    height, width = grey.shape
    return np.asarray(Image.fromarray(grey).resize((width // 2, height // 2), Image.Resampling.LANCZOS))


def _reduced_and_back(grey: Grey, times: int) -> Grey:
    """Resized to 1 / `times` of its size and back by Lanczos: HW -> HW."""
    height, width = grey.shape
    small = (max(1, width // times), max(1, height // times))
    image = Image.fromarray(grey)
    return np.asarray(image.resize(small, Image.Resampling.LANCZOS).resize((width, height), Image.Resampling.LANCZOS))


def _smoothed(grey: Grey) -> Grey:
    """Weighted 1 2 1 with the two neighbours in the row: takes most of the noise and little of an edge."""
    padded = np.pad(grey, ((0, 0), (1, 1)), mode="edge")
    return np.asarray((padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4, dtype=np.float32)


def _mean_of_neighbours(grey: Grey, count: int) -> Grey:
    """Mean of `count` neighbours, an odd number, along the rows, by running sums: HW -> HW."""
    half = count // 2
    sums = np.cumsum(np.pad(grey, ((0, 0), (half + 1, half)), mode="edge"), axis=1, dtype=np.float64)
    return ((sums[:, count:] - sums[:, :-count]) / count).astype(np.float32)


def tiles(values: Grey) -> Grey:
    """The mean of each of the tiles: HW -> TILES TILES."""
    height, width = (side - side % TILES for side in values.shape)
    return values[:height, :width].reshape(TILES, height // TILES, TILES, width // TILES).mean(axis=(1, 3))
