"""Images put together: photos side by side, and a photo between blurred sides that fill the frame.

Functions on `pixels` look along the width: HWC as they are for upright seams, transposed to WHC for level ones.

Shape letters: H W height and width, C colour channels (3).
"""

import numpy as np
from numpy.typing import NDArray

from flux_lora.data.image_stats.borders import Pixels

LEAST_SIDE = 180
"""Pixels. In smaller ones a thing's edge goes from side to side as easily as a seam."""
SEAMS = (1 / 2, 1 / 3, 2 / 3, 1 / 4, 3 / 4)
"""Shares of a side at which photos are set side by side."""
OFF = 0.02
"""Share of the side by which a gap between them may move the seam."""
JUMP = 12.0
"""Levels between the pixels left and right of a seam."""
TIMES = 2.0
"""Times by which it is more than any jump NEAR it in the same row. Texture jumps everywhere."""
NEAR = (3, 4, 5, 6, 7)
"""Pixels to both sides of a seam."""
ONE_SEAM, TWO_SEAMS = 0.42, 0.27
"""Share of the rows that jump at a seam: of one seam, and of an upright and a level one that cross."""
SECTIONS, LEAST_IN_ONE = 6, 0.1
"""Parts of a seam, and share of the rows that jump in each: a seam goes from edge to edge, a box's side does not."""


MOST_SECTIONS = 5
"""Of them, that a line of a pattern goes through: a thing stands before the rest."""
MOST_SEAMS = 3
"""Of four photos in a row. A striped or chequered ground has more."""
LEAST_VARIED = 20.0
"""Levels, deviation along both sides of a seam. A wall and the floor below it vary less."""
PLAIN, WIDEST_GAP = 5.0, 0.04
"""Deviation in levels along a gap of one colour between photos, and share of the side that it takes at most."""
OTHER = 0.7
"""Share of the pixels on both sides of a gap that have another colour. Between two shoes on white fewer have."""


def is_collage(pixels: Pixels) -> bool:
    """Whether photos seem to be set side by side or in a grid, with gaps of one colour or without."""
    if min(pixels.shape[:2]) < LEAST_SIDE:
        return False
    both = pixels.astype(np.float32), pixels.transpose(1, 0, 2).astype(np.float32)
    lines = [_lines(each) for each in both]
    if max(_long_lines(each) for each in lines) > MOST_SEAMS:
        return False
    upright, level = (_clearest_seam(jumps, each) for jumps, each in zip(lines, both, strict=True))
    seams = max(upright, level) >= ONE_SEAM or min(upright, level) >= TWO_SEAMS
    return seams or any(_has_gap(each) for each in both)


def _sections(jumps: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of the rows that jump, in each part of each column: SECTIONS, W."""
    return np.stack([each.mean(axis=0) for each in np.array_split(jumps, SECTIONS)])


def _long_lines(jumps: NDArray[np.bool_]) -> int:
    """How many lines go through most of the image, those next to each other counted once."""
    met = (_sections(jumps) >= LEAST_IN_ONE).sum(axis=0)
    long = np.flatnonzero((met >= MOST_SECTIONS) & (jumps.mean(axis=0) >= TWO_SEAMS))
    return len(long) and 1 + int((np.diff(long) > max(NEAR)).sum())


def _clearest_seam(jumps: NDArray[np.bool_], levels: NDArray[np.float32]) -> float:
    """Share of the rows that jump at the place where most do, of those in which photos are set together."""
    width = levels.shape[1]
    deviation = np.pad(levels.std(axis=0).max(axis=1), 3, mode="edge")
    varied = np.minimum(deviation[:-6], deviation[6:]) >= LEAST_VARIED
    seams = jumps.mean(axis=0) * (_sections(jumps).min(axis=0) >= LEAST_IN_ONE) * varied
    return max(float(seams[round((at - OFF) * width) : round((at + OFF) * width) + 1].max()) for at in SEAMS)


def _lines(levels: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where the left and the right neighbour differ, and no others near them do as much."""
    reach = max(NEAR)
    steps = np.pad(np.abs(levels[:, 2:] - levels[:, :-2]).max(axis=2), ((0, 0), (1 + reach, 1 + reach)))
    width = levels.shape[1]
    beside = np.zeros_like(steps[:, :width])
    for shift in (*NEAR, *(-near for near in NEAR)):
        np.maximum(beside, steps[:, reach + shift : reach + shift + width], out=beside)
    here = steps[:, reach : reach + width]
    return (here > JUMP) & (here > TIMES * beside)


def _has_gap(levels: NDArray[np.float32]) -> bool:
    """Whether columns of one colour stand between others, where photos are set together."""
    width = levels.shape[1]
    plain, reach = levels.std(axis=0).max(axis=1) < PLAIN, max(2, round(WIDEST_GAP * width))
    for share in SEAMS:
        columns = [at for at in range(round((share - OFF) * width), round((share + OFF) * width) + 1) if plain[at]]
        for at in columns[:1]:
            colour = levels[:, at].mean(axis=0)
            beside = levels[:, [at - reach, at + reach]]
            if min((np.abs(beside - colour).max(axis=2) > JUMP).mean(axis=0)) >= OTHER:
                return True
    return False


NARROWEST, WIDEST = 0.06, 0.42
"""Share of the side that each blurred side takes."""
INNER = 12
"""Pixels of the photo beside each blurred side that are looked at."""
MOST_LEFT = 0.16
"""Detail in the blurred sides, as a share of that in the photo beside them."""
LEAST_SPREAD = 8.0
"""Levels. A plain ground has no detail either, and hardly any spread."""
MOST_ROWS = 0.6
"""Share of the rows in which the photo begins at the seam. A vase before a soft wall begins in few."""
BEGINS = 6.0
"""Levels between the two pixels beside the seam, or TIMES as much detail inside as outside."""


def blurred_sides(pixels: Pixels) -> str:
    """Where a photo has blurred sides that fill the frame: "left and right", "top and bottom", or empty."""
    if min(pixels.shape[:2]) < LEAST_SIDE:
        return ""
    grey = pixels.astype(np.float32).mean(axis=2)
    if _has_blurred_ends(grey):
        return "left and right"
    return "top and bottom" if _has_blurred_ends(grey.T) else ""


def _has_blurred_ends(grey: NDArray[np.float32]) -> bool:
    """Whether some columns from both ends, as many of each, have no detail, and those next to them have."""
    width = grey.shape[1]
    detail = _detail(grey).mean(axis=0)
    sums = np.concatenate([[0.0], np.cumsum(detail)])
    side = np.arange(round(NARROWEST * width), round(WIDEST * width))
    other = width - side
    outside = np.maximum(sums[side - 2] / (side - 2), (sums[width] - sums[other + 2]) / (width - other - 2))
    left, right = sums[side + 2 + INNER] - sums[side + 2], sums[other - 2] - sums[other - 2 - INNER]
    share = outside / np.maximum(np.minimum(left, right) / INNER, 1e-3)
    best = int(share.argmin())
    if share[best] > MOST_LEFT:
        return False
    ends = grey[:, : side[best]], grey[:, other[best] :]
    spread = float(np.concatenate(ends, axis=1).std())
    return spread >= LEAST_SPREAD and all(
        _rows_that_begin(each, int(side[best])) >= MOST_ROWS for each in (grey, grey[:, ::-1])
    )


def _detail(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far each pixel is from the mean of its neighbours, across and down: HW."""
    wide = np.pad(grey, 1, mode="edge")
    across, down = wide[1:-1, 2:] + wide[1:-1, :-2], wide[2:, 1:-1] + wide[:-2, 1:-1]
    return np.abs(2 * grey - across) + np.abs(2 * grey - down)


def _rows_that_begin(grey: NDArray[np.float32], seam: int) -> float:
    """Share of the rows in which something begins at a column."""
    step = np.abs(grey[:, seam + 2] - grey[:, seam - 2])
    inside, outside = (
        np.abs(np.diff(piece, axis=1)).mean(axis=1)
        for piece in (grey[:, seam + 2 : seam + 2 + INNER], grey[:, max(0, seam - 2 - INNER) : seam - 2])
    )
    return float(((step > BEGINS) | (inside > TIMES * outside + 0.5)).mean())
