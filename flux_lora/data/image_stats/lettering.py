"""Watermarks: lines of small letters near an edge by their strokes, and words by OCR (extra 'ocr', the only importer).

Strokes are thin, many side by side, in a line with clear space above and below. Without OCR, large or faint stamps
across the middle of one image are not found (of several: shared_marks.py), and neither is lettering on a busy
background.

Grey values and marks are HW; a strip is a part of the rows, the image's edge first.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from flux_lora.data.image_stats.sharpness import Grey

Marks = NDArray[np.bool_]
"""Where there is ink: HW in pixels or in cells."""

STRIP = 0.14
"""Share of the height that is searched, at the top and at the bottom each."""
STROKE = 7
"""Pixels of the working copy. Letters' strokes are thinner."""
CLEAR = 28
"""Levels by which a stroke differs from its surroundings."""
CELL = 4
"""Pixels a side of the cells that marks are gathered in."""
REACH = 3
"""Cells. Letters and words of one line are no further apart."""
LOWEST, HIGHEST = 5, 40
"""Height of a line of letters in pixels."""
LONGEST_SHAPE = 4.0
"""A line is at least this many times as long as it is high."""
SHORTEST = 0.08
"""Least length of a line, as a share of the width."""
THINNEST, THICKEST = 0.10, 0.50
"""Share of the line's box that is ink."""
FEWEST_STROKES = 0.9
"""Strokes per height of the line; letters have one to two, a ledge or a wire has none."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom; in cells."""


def find_lettering(grey: Grey) -> str:
    """Where a line of small letters is, such as "bottom right"; empty where none was found."""
    high = round(len(grey) * STRIP)
    if high < HIGHEST // 2 or grey.shape[1] < 2 * HIGHEST:
        return ""
    for name, strip in (("bottom", grey[-high:][::-1]), ("top", grey[:high])):  # the image's edge comes first
        for marks in (_strokes(strip), _strokes(-strip)):
            line = next((box for box in _lines(_cells(marks)) if _is_lettering(marks, box, len(marks))), None)
            if line:
                middle = (line[0] + line[2]) / 2 * CELL / grey.shape[1]
                return f"{name} {'left' if middle < 1 / 3 else 'right' if middle > 2 / 3 else 'middle'}"
    return ""


def _strokes(strip: Grey) -> Marks:
    """What is brighter than its surroundings and thin: what morphological opening with a square removes."""
    eroded = -_dilated(-strip)
    return strip - _dilated(eroded) > CLEAR


def _dilated(values: Grey) -> Grey:
    """The highest level within a STROKE square: of two, of four, of seven in a column, then the same in a row."""
    for _ in range(2):
        values = np.pad(values, ((STROKE // 2, STROKE // 2), (0, 0)), mode="edge")
        for step in (1, 2, STROKE - 4):
            values = np.maximum(values[:-step], values[step:])
        values = values.T
    return values


def _cells(marks: Marks) -> Marks:
    """Whether each cell of CELL by CELL pixels holds ink."""
    height, width = (side // CELL * CELL for side in marks.shape)
    return np.asarray(marks[:height, :width].reshape(height // CELL, CELL, width // CELL, CELL).any(axis=(1, 3)))


def _lines(cells: Marks) -> Iterator[Box]:
    """The boxes around connected cells: up to REACH apart in a row, next to each other in a column."""
    left = {(int(row), int(column)) for row, column in np.argwhere(cells)}
    while left:
        found = [left.pop()]
        for row, column in found:
            near = {(row + down, column + across) for down in (-1, 0, 1) for across in range(-REACH, REACH + 1)} & left
            left -= near
            found += near
        rows, columns = zip(*found, strict=True)
        yield min(columns), min(rows), max(columns) + 1, max(rows) + 1


def _is_lettering(marks: Marks, box: Box, depth: int) -> bool:
    """Whether a box of a strip `depth` pixels high has the size, ink and strokes of a line of letters."""
    left, top, right, bottom = (edge * CELL for edge in box)
    if bottom > depth - CELL:  # it goes on into the image
        return False
    inside = marks[top:bottom, left:right]
    rows = inside.mean(axis=1) > THINNEST / 2
    high, wide = int(rows.sum()), right - left
    if not LOWEST <= high <= HIGHEST or wide < max(LONGEST_SHAPE * high, SHORTEST * marks.shape[1]):
        return False
    ink = inside[rows]
    strokes = np.median(np.diff(ink.astype(np.int8), axis=1).clip(0).sum(axis=1))
    return bool(THINNEST <= ink.mean() <= THICKEST and strokes >= FEWEST_STROKES * wide / high)


SURE = 0.7
"""Least OCR confidence of a line."""
SHORTEST_WORD = 3
"""Letters. OCR reads a stray 0 or 1 in many a texture."""
LARGEST = 1280
"""Pixels of the longer side. Larger images are reduced to it: watermarks are made to be seen."""


@dataclass(frozen=True)
class Line:
    """One line of text, and its box in shares of the width and height."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


Read = Callable[[Image.Image], tuple[Line, ...]]
"""Image -> the lines of text in it, by OCR."""


def can_read() -> bool:
    """Whether the extra is installed. Loads nothing."""
    return find_spec("rapidocr") is not None


def load_read() -> Read:
    """Load RapidOCR on the CPU; about half a second an image. Call `can_read` first."""
    from rapidocr import RapidOCR

    reader = RapidOCR(params={"Global.log_level": "critical"})

    def read(image: Image.Image) -> tuple[Line, ...]:
        small = image.convert("RGB")
        small.thumbnail((LARGEST, LARGEST), reducing_gap=3.0)
        found = reader(np.asarray(small)[:, :, ::-1])  # HWC, BGR
        if found.boxes is None or found.txts is None or found.scores is None:
            return ()
        return tuple(
            _line(box, text, small.size)
            for box, text, confidence in zip(found.boxes, found.txts, found.scores, strict=True)
            if confidence >= SURE and len(text) >= SHORTEST_WORD
        )

    return read


def _line(box: np.ndarray, text: str, size: tuple[int, int]) -> Line:
    """`box`: four corners in pixels, 4 x 2."""
    left, top = box.min(axis=0) / size
    right, bottom = box.max(axis=0) / size
    return Line(text.strip(), float(left), float(top), float(right), float(bottom))
