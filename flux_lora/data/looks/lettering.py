"""A line of small letters near the upper or lower edge: a watermark, a date, a photographer's name.

It is found by its strokes, not read: thin, many side by side, in a line with quiet above and below. Large or faint
stamps across the middle are not found, and neither is lettering on a busy ground.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from flux_lora.data.looks.detail import Grey

Marks = NDArray[np.bool_]

STRIP = 0.14
"""Share of the height that is searched at the top and at the bottom."""
STROKE = 7
"""Pixels of a working copy. Letters' strokes are thinner."""
CLEAR = 28
"""Levels by which a stroke stands out from what is around it."""
CELL = 4
"""Pixels a side of the cells that marks are gathered in."""
REACH = 3
"""Cells. Letters and words of one line are no further apart."""
LOWEST, HIGHEST = 5, 40
"""Pixels that a line of letters is high."""
LONGEST_SHAPE = 4.0
"""A line is at least this many times as long as it is high."""
SHORTEST = 0.08
"""Of the width."""
THINNEST, THICKEST = 0.10, 0.50
"""Share of the line's box that is ink."""
FEWEST_STROKES = 0.9
"""Per height of the line; letters have one to two, a ledge or a wire has none."""

Box = tuple[int, int, int, int]
"""Left, top, right, bottom; in cells."""


def find_lettering(grey: Grey) -> str:
    """Where such a line is, such as "bottom right"; empty where none was found."""
    high = round(len(grey) * STRIP)
    if high < HIGHEST // 2 or grey.shape[1] < 2 * HIGHEST:
        return ""
    for name, strip in (("bottom", grey[-high:][::-1]), ("top", grey[:high])):  # the picture's edge comes first
        for marks in (_strokes(strip), _strokes(-strip)):
            line = next((box for box in _lines(_cells(marks)) if _is_lettering(marks, box, len(marks))), None)
            if line:
                middle = (line[0] + line[2]) / 2 * CELL / grey.shape[1]
                return f"{name} {'left' if middle < 1 / 3 else 'right' if middle > 2 / 3 else 'middle'}"
    return ""


def _strokes(strip: Grey) -> Marks:
    """What is brighter than its surroundings and thin: what opening with a square takes away."""
    return strip - _widest(_narrowest(strip)) > CLEAR


def _narrowest(values: Grey) -> Grey:
    return -_widest(-values)


def _widest(values: Grey) -> Grey:
    """The highest level within a square: of two, of four, of seven in a column, then the same in a row."""
    for _ in range(2):
        values = np.pad(values, ((STROKE // 2, STROKE // 2), (0, 0)), mode="edge")
        for step in (1, 2, STROKE - 4):
            values = np.maximum(values[:-step], values[step:])
        values = values.T
    return values


def _cells(marks: Marks) -> Marks:
    """Whether a cell holds ink."""
    height, width = (side // CELL * CELL for side in marks.shape)
    return np.asarray(marks[:height, :width].reshape(height // CELL, CELL, width // CELL, CELL).any(axis=(1, 3)))


def _lines(cells: Marks) -> Iterator[Box]:
    """The boxes around cells that hang together: up to REACH apart in a row, next to each other in a column."""
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
    left, top, right, bottom = (edge * CELL for edge in box)
    if bottom > depth - CELL:  # it goes on into the picture
        return False
    inside = marks[top:bottom, left:right]
    rows = inside.mean(axis=1) > THINNEST / 2
    high, wide = int(rows.sum()), right - left
    if not LOWEST <= high <= HIGHEST or wide < max(LONGEST_SHAPE * high, SHORTEST * marks.shape[1]):
        return False
    ink = inside[rows]
    strokes = np.median(np.diff(ink.astype(np.int8), axis=1).clip(0).sum(axis=1))
    return bool(THINNEST <= ink.mean() <= THICKEST and strokes >= FEWEST_STROKES * wide / high)
