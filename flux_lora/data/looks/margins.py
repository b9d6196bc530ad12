"""What lies around the picture proper: bars, frames, and the ground that shows at the rim.

Working copies are HWC, uint8, sRGB.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

ALIKE = 10
"""Levels a channel. Pixels of one bar differ by less."""
UNLIKE = 24
"""Levels. The picture differs from a bar by more."""
PLAIN = 0.98
"""Share of a row's pixels that are of one colour in an empty bar."""
WRITTEN = 0.6
"""The same in a bar with signs on it, such as a telephone's clock and battery."""
STRAIGHT, MOSTLY, ROUGHLY = 0.9, 0.75, 0.6
"""A bar ends along this share of its length at once. A bottle on white does not."""
SHADE = 2
"""Pixels that a resize may blend between bar and picture."""
RINGING = 8
"""Pixels before a bar's inner edge, where JPEG leaves waves of up to UNLIKE levels: one block that holds both."""
THINNEST, THICKEST = 0.015, 0.4
"""Of the side. Thinner is a scan line, thicker is a ground."""
THICKEST_WRITTEN = 0.15
THICKEST_FRAME = 0.12
"""A frame that is no thicker than this at all four sides is believed where it ends less clearly, in its own colour."""
BLACK, WHITE = 16, 240
RIM = 0.06
"""Of the shorter side: what is looked at to see the ground."""
GROUND_SPREAD = 20
"""Levels that one flat ground may vary by, light fall-off included."""
FLAT_GROUND = 0.75
"""Share of the rim from which on its colour is the ground's."""
SPECKS = 0.02
"""Share of the pixels on each side that is not believed to be the thing: dust, noise."""


@dataclass(frozen=True)
class Borders:
    """Pixels of bars at each side."""

    top: int = 0
    right: int = 0
    bottom: int = 0
    left: int = 0
    written: bool = False
    """With signs on them, as a screenshot has."""

    def __bool__(self) -> bool:
        return bool(self.top or self.right or self.bottom or self.left)

    def scaled(self, times: float) -> "Borders":
        """For a copy of another size."""
        top, right, bottom, left = (round(side * times) for side in (self.top, self.right, self.bottom, self.left))
        return Borders(top, right, bottom, left, self.written)


@dataclass(frozen=True)
class Ground:
    """What shows along the rim."""

    colour: Colour
    share: float
    """Of the rim that is of this colour."""
    segments: tuple[Colour, ...]
    """The mean colour of eight pieces of the rim: corners and sides, clockwise from the top left."""

    @property
    def flat(self) -> bool:
        """Whether it is one even colour, as of a studio sweep, and no scene."""
        return self.share >= FLAT_GROUND


@dataclass(frozen=True)
class Subject:
    """Where the thing is, in shares of the width and height."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Share of the picture."""
        return (self.right - self.left) * (self.bottom - self.top)

    @property
    def middle(self) -> tuple[float, float]:
        """Across and down."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


def find_borders(pixels: Pixels) -> Borders:
    """Letterboxes and frames; where there are none, bars with signs on them."""
    plain = _on_all_sides(pixels)
    if plain:
        return plain
    top, bottom = (_bar(each, WRITTEN, THICKEST_WRITTEN, MOSTLY) for each in (pixels, pixels[::-1]))
    if not (top and bottom and _one_colour(pixels[0], pixels[-1])):
        top, bottom = _believed(pixels, top, bottom)
    written = _has_signs(pixels[:top]) or _has_signs(pixels[::-1][:bottom])
    return Borders(top=top, bottom=bottom, written=True) if written else Borders()


def find_ground(pixels: Pixels) -> Ground:
    """The colour that most of the rim has."""
    pieces = _rim(pixels)
    rim = np.concatenate(pieces)
    bins = rim // 16
    keys, counts = np.unique(bins @ np.array([256, 16, 1], dtype=np.int64), return_counts=True)
    fullest = keys[counts.argmax()]
    centre = np.array([fullest // 256, fullest // 16 % 16, fullest % 16]) * 16 + 8
    near = rim[off_colour(rim, centre) <= GROUND_SPREAD]
    colour = near.mean(axis=0)
    share = float((off_colour(rim, colour) <= GROUND_SPREAD).mean())
    segments = tuple(_colour((piece if len(piece) else rim).mean(axis=0)) for piece in pieces)
    return Ground(_colour(colour), share, segments)


def find_subject(pixels: Pixels, ground: Ground, mask: NDArray[np.uint8] | None) -> Subject | None:
    """What the mask shows or, without one, what is not the flat ground; nothing where neither tells."""
    if mask is not None:
        return _box(mask > 127)
    if not ground.flat:
        return None
    return _box(off_colour(pixels, ground.colour) > UNLIKE)


def off_colour(pixels: NDArray[np.integer], colour: Sequence[float] | NDArray[np.float64]) -> NDArray[np.floating]:
    """How far each pixel is off a colour, in its worst channel. Channel by channel: ten times as quick as max(axis)."""
    red, green, blue = (np.abs(pixels[..., each] - np.float32(colour[each])) for each in range(3))
    return np.maximum(np.maximum(red, green), blue)


def _box(shown: NDArray[np.bool_]) -> Subject | None:
    """Around what is shown, but for specks."""
    if not shown.any():
        return None
    (top, bottom), (left, right) = (_middle_part(shown.sum(axis=axis)) for axis in (1, 0))
    return Subject(left, top, right, bottom)


def _middle_part(counts: NDArray[np.int64]) -> tuple[float, float]:
    """From where to where most of it lies, in shares of the length."""
    up_to = np.cumsum(counts) / counts.sum()
    first, last = np.searchsorted(up_to, (SPECKS / 2, 1 - SPECKS / 2))
    return float(first / len(counts)), float(min(last + 1, len(counts)) / len(counts))


def _on_all_sides(pixels: Pixels) -> Borders:
    """Roughly first, since the edge of a frame's bar ends where the next bar begins; then within what was found."""
    across = pixels.transpose(1, 0, 2)
    top, bottom = _bars(pixels, ROUGHLY)
    left, right = _bars(across, ROUGHLY)
    inner_rows = pixels[:, left : pixels.shape[1] - right]
    inner_columns = across[:, top : len(pixels) - bottom]
    thin = max(top, bottom) <= THICKEST_FRAME * len(pixels) and max(left, right) <= THICKEST_FRAME * len(across)
    framed = min(top, right, bottom, left) > 0 and thin
    top, bottom = _bars(inner_rows, ROUGHLY if framed else STRAIGHT)
    left, right = _bars(inner_columns, ROUGHLY if framed else STRAIGHT)
    if min(top, right, bottom, left) and _one_colour(pixels[0], pixels[-1]):
        return Borders(top, right, bottom, left)
    top, bottom = _believed(inner_rows, top, bottom)
    left, right = _believed(inner_columns, left, right)
    return Borders(top, right, bottom, left)


def _bars(rows: Pixels, straight: float) -> tuple[int, int]:
    """At the first row and at the last."""
    first, last = (_bar(each, PLAIN, THICKEST, straight) for each in (rows, rows[::-1]))
    return first, last


def _bar(rows: Pixels, share: float, thickest: float, straight: float) -> int:
    """How many rows from the first are one bar that ends in a straight edge."""
    colour = np.median(rows[0], axis=0)
    if (off_colour(rows[0], colour) <= ALIKE).mean() < share:  # most pictures: the rest need not be looked at
        return 0
    off = off_colour(rows[: round(len(rows) * thickest) + SHADE + 1], colour)
    count = _run((off <= ALIKE).mean(axis=1) >= share)
    count += _run((off[count : count + RINGING] <= UNLIKE).mean(axis=1) >= share)
    if count < max(SHADE + 1, THINNEST * len(rows)) or count > thickest * len(rows):
        return 0
    edge = off[min(count + SHADE, len(off) - 1)]
    return count if (edge > UNLIKE).mean() >= straight else 0


def _run(rows: NDArray[np.bool_]) -> int:
    """How many from the first are so."""
    return len(rows) if rows.all() else int(rows.argmin())


def _has_signs(bar: Pixels) -> bool:
    """Whether something is drawn on it. What is near its inner edge may be the picture's own waves."""
    outer = bar[: max(0, len(bar) - RINGING)]
    return bool(len(outer) and (off_colour(outer, _row_colour(bar[0])) > UNLIKE).any())


def _believed(rows: Pixels, first: int, last: int) -> tuple[int, int]:
    """Two black or two white bars, or a single black one. Walls, tables and stripes end straight too, in any colour."""
    if first and last and _one_colour(rows[0], rows[-1]) and not BLACK < _row_colour(rows[0]).mean() < WHITE:
        return first, last
    return first * bool(_row_colour(rows[0]).max() <= BLACK), last * bool(_row_colour(rows[-1]).max() <= BLACK)


def _one_colour(row: Pixels, other: Pixels) -> bool:
    return bool(np.abs(_row_colour(row) - _row_colour(other)).max() <= ALIKE)


def _row_colour(row: Pixels) -> NDArray[np.float64]:
    return np.median(row, axis=0)


def _rim(pixels: Pixels) -> list[NDArray[np.int64]]:
    """Eight pieces of it, each as a list of colours."""
    height, width = pixels.shape[:2]
    deep = max(1, round(RIM * min(height, width)))
    x, y = (width // 4, width - width // 4), (height // 4, height - height // 4)
    top, bottom, left, right = pixels[:deep], pixels[-deep:], pixels[:, :deep], pixels[:, -deep:]
    corners = [
        (top[:, : x[0]], left[: y[0]]),
        (top[:, x[0] : x[1]],),
        (top[:, x[1] :], right[: y[0]]),
        (right[y[0] : y[1]],),
        (bottom[:, x[1] :], right[y[1] :]),
        (bottom[:, x[0] : x[1]],),
        (bottom[:, : x[0]], left[y[1] :]),
        (left[y[0] : y[1]],),
    ]
    return [np.concatenate([part.reshape(-1, 3) for part in parts]).astype(np.int64) for parts in corners]


def _colour(values: NDArray[np.float64]) -> Colour:
    red, green, blue = (int(value.round()) for value in values)
    return red, green, blue
