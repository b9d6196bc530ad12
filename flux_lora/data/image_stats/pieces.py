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
    across, down = pixels.astype(np.float32), pixels.transpose(1, 0, 2).astype(np.float32)
    upright, level = _clearest_seam(across), _clearest_seam(down)
    seams = max(upright, level) >= ONE_SEAM or min(upright, level) >= TWO_SEAMS
    return seams or _has_gap(across) or _has_gap(down)


def _clearest_seam(levels: NDArray[np.float32]) -> float:
    """Share of the rows that jump at the place where most do, of those in which photos are set together.

    0 where there are more seams than photos side by side have, as in a chequered ground.
    """
    width = levels.shape[1]
    lines = _lines(levels)
    clear = np.flatnonzero(lines >= TWO_SEAMS)
    if len(clear) == 0 or 1 + int((np.diff(clear) > max(NEAR)).sum()) > MOST_SEAMS:
        return 0.0
    deviation = np.pad(levels.std(axis=0).max(axis=1), 3, mode="edge")
    seams = lines * (np.minimum(deviation[:-6], deviation[6:]) >= LEAST_VARIED)
    return max(float(seams[round((at - OFF) * width) : round((at + OFF) * width) + 1].max()) for at in SEAMS)


def _lines(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """For each column, the share of the rows that jump there; 0 where they are no line from edge to edge."""
    reach = max(NEAR)
    steps = np.pad(np.abs(levels[:, 2:] - levels[:, :-2]).max(axis=2), ((0, 0), (1 + reach, 1 + reach)))
    width = levels.shape[1]
    beside = np.zeros_like(steps[:, :width])
    for shift in (*NEAR, *(-near for near in NEAR)):
        np.maximum(beside, steps[:, reach + shift : reach + shift + width], out=beside)
    here = steps[:, reach : reach + width]
    jumps = (here > JUMP) & (here > TIMES * beside)
    sections = np.stack([each.mean(axis=0) for each in np.array_split(jumps, SECTIONS)])
    return jumps.mean(axis=0) * (sections.min(axis=0) >= LEAST_IN_ONE)


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
    detail = np.pad(np.abs(2 * grey[:, 1:-1] - grey[:, 2:] - grey[:, :-2]).mean(axis=0), 1, mode="edge")
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


def _rows_that_begin(grey: NDArray[np.float32], seam: int) -> float:
    """Share of the rows in which something begins at a column."""
    step = np.abs(grey[:, seam + 2] - grey[:, seam - 2])
    inside, outside = (
        np.abs(np.diff(piece, axis=1)).mean(axis=1)
        for piece in (grey[:, seam + 2 : seam + 2 + INNER], grey[:, max(0, seam - 2 - INNER) : seam - 2])
    )
    return float(((step > BEGINS) | (inside > TIMES * outside + 0.5)).mean())
