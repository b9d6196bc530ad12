"""The words in a picture, read. The only importer of the extra 'ocr': rapidocr, whose networks ship in its package."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from PIL import Image

SURE = 0.7
"""What the reader is less sure of is left out."""
SHORTEST = 3
"""Letters. A stray 0 or 1 is seen in many a texture."""
LARGEST = 1280
"""Pixels. Larger pictures are read smaller: a watermark is made to be seen."""


@dataclass(frozen=True)
class Line:
    """One line of words, and where it is in shares of the width and height."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


Read = Callable[[Image.Image], tuple[Line, ...]]


def can_read() -> bool:
    """Whether the extra is installed. Loads nothing."""
    return find_spec("rapidocr") is not None


def load_read() -> Read:
    """Load the reader, on the CPU; about half a second a picture. Ask `can_read` first."""
    from rapidocr import RapidOCR

    reader = RapidOCR(params={"Global.log_level": "critical"})

    def read(picture: Image.Image) -> tuple[Line, ...]:
        small = picture.convert("RGB")
        small.thumbnail((LARGEST, LARGEST), reducing_gap=3.0)
        found = reader(np.asarray(small)[:, :, ::-1])  # it expects blue first
        if found.boxes is None or found.txts is None or found.scores is None:
            return ()
        told = zip(found.boxes, found.txts, found.scores, strict=True)
        return tuple(_line(box, text, small.size) for box, text, sure in told if sure >= SURE and len(text) >= SHORTEST)

    return read


def _line(box: np.ndarray, text: str, size: tuple[int, int]) -> Line:
    left, top = box.min(axis=0) / size
    right, bottom = box.max(axis=0) / size
    return Line(text.strip(), float(left), float(top), float(right), float(bottom))
