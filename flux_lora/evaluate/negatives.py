"""What is not the subject and nearly looks like it, made from its photos: other colours, upside down, one part changed.

Shape letters: J kinds of places, K places, H W pixels.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageOps

from flux_lora.evaluate.features import GRID, lab
from flux_lora.evaluate.identity import Identity, Template

TURNS = (85, 170)
"""Hue, in steps of 256, by which the altered copies of a photo are turned."""
SAME_PART = 25.0
"""CIELAB distance from a kind's mean colour up to which a pixel beside its places is of the same part."""
BESIDE = 2
"""Places around those of a kind."""


def altered_copies(photos: Sequence[Image.Image]) -> list[Image.Image]:
    """Each photo twice in other colours, and upside down."""
    return [
        altered
        for photo in photos
        for altered in (*(_turned(photo, turn) for turn in TURNS), ImageOps.flip(photo.convert("RGB")))
    ]


def near_twins(photos: Sequence[Image.Image], identity: Identity) -> list[Image.Image]:
    """The photos with one part in another colour, for each kind of place that is the subject's own."""
    return [
        Image.composite(_recoloured(photo), photo, part)
        for template in identity.templates
        for photo in (photos[template.photo].convert("RGB"),)
        for part in _parts(photo, template)
    ]


def _parts(photo: Image.Image, template: Template) -> Iterator[Image.Image]:
    """White where a kind's places are, and where pixels beside them have their colour."""
    pixels_HW3 = lab(np.asarray(photo, np.float64) / 255)
    for kind_K in template.kinds:
        cells = np.zeros((GRID, GRID), np.uint8)
        cells.flat[template.places[kind_K > 0].numpy()] = 255
        rows, columns = (np.flatnonzero(cells.any(axis=axis)) for axis in (1, 0))
        around = np.zeros_like(cells)
        around[
            max(0, rows[0] - BESIDE) : rows[-1] + BESIDE + 1, max(0, columns[0] - BESIDE) : columns[-1] + BESIDE + 1
        ] = 1
        own_HW, near_HW = (
            np.asarray(Image.fromarray(each).resize(photo.size, Image.Resampling.NEAREST)) > 0
            for each in (cells, around)
        )
        alike_HW = np.linalg.norm(pixels_HW3 - np.median(pixels_HW3[own_HW], axis=0), axis=-1) < SAME_PART
        yield Image.fromarray(((own_HW | (near_HW & alike_HW)) * 255).astype(np.uint8))


def _turned(photo: Image.Image, turn: int) -> Image.Image:
    hue, saturation, value = photo.convert("HSV").split()
    return Image.merge("HSV", (hue.point([(h + turn) % 256 for h in range(256)]), saturation, value)).convert("RGB")


def _recoloured(photo: Image.Image) -> Image.Image:
    """Every channel half of the scale away from what it was."""
    return photo.point([(value + 128) % 256 for value in range(256)] * 3)
