"""Letterboxes, frames, the background colour along the rim, and the subject's box before a flat background.

Shape letters: H W height and width, C colour channels (3), N pixels. Images are HWC, uint8, sRGB; functions on `rows`
also take them transposed to WHC, to measure the left and right sides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

ALIKE = 10
"""Levels a channel, of 256. Pixels of one bar differ by less."""
UNLIKE = 24
"""Levels. The image differs from a bar by more."""
PLAIN = 0.98
"""Share of a row's pixels that have one colour in an empty bar."""
WRITTEN = 0.6
"""The same in a bar with signs on it, such as a phone's clock and battery."""
STRAIGHT, MOSTLY, ROUGHLY = 0.9, 0.75, 0.6
"""Share of its length along which a bar ends in the same row. A bottle on white does not."""
SHADE = 2
"""Pixels that a resize may blend between bar and image."""
RINGING = 8
"""Pixels before a bar's inner edge, where JPEG leaves waves of up to UNLIKE levels: one block that holds both."""
THINNEST, THICKEST = 0.015, 0.4
"""Share of the side. Thinner is a scan line, thicker is a background."""
THICKEST_WRITTEN = 0.15
THICKEST_FRAME = 0.12
"""A frame of one colour, no thicker than this at all four sides, may end less clearly (ROUGHLY)."""
BLACK, WHITE = 16, 240
RIM = 0.06
"""Share of the shorter side: width of the rim in which the background is measured."""
GROUND_SPREAD = 20
"""Levels that a flat background may vary by, light fall-off included."""
FLAT_GROUND = 0.75
"""Share of the rim that must have one colour for the background to be flat."""
SPECKS = 0.02
"""Share of the subject's pixels, both ends of an axis together, left out of its box: dust, noise."""


@dataclass(frozen=True)
class Borders:
    """Width of the bars at each side, in pixels."""

    top: int = 0
    right: int = 0
    bottom: int = 0
    left: int = 0
    written: bool = False
    """Whether something is drawn on them, as on a screenshot."""

    def __bool__(self) -> bool:
        return bool(self.top or self.right or self.bottom or self.left)

    def scaled(self, times: float) -> "Borders":
        """The borders of the same image at `times` its size."""
        top, right, bottom, left = (round(side * times) for side in (self.top, self.right, self.bottom, self.left))
        return Borders(top, right, bottom, left, self.written)


@dataclass(frozen=True)
class Ground:
    """The background, measured along the rim."""

    colour: Colour
    share: float
    """Share of the rim that has this colour."""
    segments: tuple[Colour, ...]
    """The mean colour of eight pieces of the rim: corners and sides, clockwise from the top left."""

    @property
    def flat(self) -> bool:
        """Whether it is one even colour, as of a studio sweep."""
        return self.share >= FLAT_GROUND


@dataclass(frozen=True)
class Subject:
    """The subject's box, in shares of the width and height."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Share of the image."""
        return (self.right - self.left) * (self.bottom - self.top)

    @property
    def middle(self) -> tuple[float, float]:
        """Centre of the box: across, down."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2


def find_borders(pixels: Pixels) -> Borders:
    """Letterboxes and frames of HWC pixels; where there are none, a screenshot's bars with signs on them."""
    empty = _empty_borders(pixels)
    if empty:
        return empty
    top, bottom = (_bar(rows, WRITTEN, THICKEST_WRITTEN, MOSTLY) for rows in (pixels, pixels[::-1]))
    if not (top and bottom and _one_colour(pixels[0], pixels[-1])):
        top, bottom = _black_or_white_bars(pixels, top, bottom)
    written = _has_signs(pixels[:top]) or _has_signs(pixels[::-1][:bottom])
    return Borders(top=top, bottom=bottom, written=True) if written else Borders()


def find_ground(pixels: Pixels) -> Ground:
    """The most frequent colour along the rim of HWC pixels."""
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
    """The box of what the mask, HW, keeps or, without one, of what is not flat background; None without either."""
    if mask is not None:
        return _box(mask > 127)
    if not ground.flat:
        return None
    return _box(off_colour(pixels, ground.colour) > UNLIKE)


def off_colour(pixels: NDArray[np.integer], colour: Sequence[float] | NDArray[np.float64]) -> NDArray[np.floating]:
    """Largest difference of any channel from a colour: ...C -> ... . By channel: ten times as quick as max(axis)."""
    red, green, blue = (np.abs(pixels[..., channel] - np.float32(colour[channel])) for channel in range(3))
    return np.maximum(np.maximum(red, green), blue)


def _box(subject: NDArray[np.bool_]) -> Subject | None:
    """The box around what is set in an HW mask, but for specks."""
    if not subject.any():
        return None
    (top, bottom), (left, right) = (_middle_part(subject.sum(axis=axis)) for axis in (1, 0))
    return Subject(left, top, right, bottom)


def _middle_part(counts: NDArray[np.int64]) -> tuple[float, float]:
    """First and last place between which all but SPECKS of the counts lie, in shares of the length."""
    up_to = np.cumsum(counts) / counts.sum()
    first, last = np.searchsorted(up_to, (SPECKS / 2, 1 - SPECKS / 2))
    return float(first / len(counts)), float(min(last + 1, len(counts)) / len(counts))


def _empty_borders(pixels: Pixels) -> Borders:
    """Empty bars of an HWC image. Roughly first, since a frame's bar ends where the next begins; then between those."""
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
    top, bottom = _black_or_white_bars(inner_rows, top, bottom)
    left, right = _black_or_white_bars(inner_columns, left, right)
    return Borders(top, right, bottom, left)


def _bars(rows: Pixels, straight: float) -> tuple[int, int]:
    """Thickness of the empty bars at the first and at the last of the rows."""
    first, last = (_bar(side, PLAIN, THICKEST, straight) for side in (rows, rows[::-1]))
    return first, last


def _bar(rows: Pixels, share: float, thickest: float, straight: float) -> int:
    """How many rows from the first are one bar that ends in a straight edge; 0 without one."""
    colour = np.median(rows[0], axis=0)
    if (off_colour(rows[0], colour) <= ALIKE).mean() < share:  # most images, at once
        return 0
    off = off_colour(rows[: round(len(rows) * thickest) + SHADE + 1], colour)
    count = _run((off <= ALIKE).mean(axis=1) >= share)
    count += _run((off[count : count + RINGING] <= UNLIKE).mean(axis=1) >= share)
    if count < max(SHADE + 1, THINNEST * len(rows)) or count > thickest * len(rows):
        return 0
    edge = off[min(count + SHADE, len(off) - 1)]
    return count if (edge > UNLIKE).mean() >= straight else 0


def _run(rows: NDArray[np.bool_]) -> int:
    """How many from the first are true."""
    return len(rows) if rows.all() else int(rows.argmin())


def _has_signs(bar: Pixels) -> bool:
    """Whether something is drawn on a bar, HWC. Its inner edge is left out: JPEG rings there."""
    outer = bar[: max(0, len(bar) - RINGING)]
    return bool(len(outer) and (off_colour(outer, _row_colour(bar[0])) > UNLIKE).any())


def _black_or_white_bars(rows: Pixels, first: int, last: int) -> tuple[int, int]:
    """Keep two black or two white bars, or a single black one: walls, tables and stripes end straight too."""
    if first and last and _one_colour(rows[0], rows[-1]) and not BLACK < _row_colour(rows[0]).mean() < WHITE:
        return first, last
    return first * bool(_row_colour(rows[0]).max() <= BLACK), last * bool(_row_colour(rows[-1]).max() <= BLACK)


def _one_colour(row: Pixels, other: Pixels) -> bool:
    """Whether two rows, WC each, have the same median colour."""
    return bool(np.abs(_row_colour(row) - _row_colour(other)).max() <= ALIKE)


def _row_colour(row: Pixels) -> NDArray[np.float64]:
    """Median colour: WC -> C."""
    return np.median(row, axis=0)


def _rim(pixels: Pixels) -> list[NDArray[np.int64]]:
    """Corners and sides of the rim, clockwise from the top left: HWC -> eight of NC."""
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
