"""Read loss masks, in one way for the loss, the crop and the report."""

from pathlib import Path

from PIL import Image

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.images.decode import decode

OFF_SHAPE = 0.02
"""Largest relative difference between the aspect of a mask and that of its image."""


def read_mask(file: Path) -> Image.Image:
    """The mask as grey, mode L, upright: white is weight 1, black or transparent 0. DataError if it cannot be read."""
    decoded = decode(file, AlphaPolicy.mask)
    grey = decoded.image.convert("L")
    if decoded.opacity is None:
        return grey
    return Image.composite(grey, Image.new("L", grey.size), decoded.opacity)


def has_shape_of(mask: Image.Image, size: tuple[int, int]) -> bool:
    """Whether the mask has the aspect of an image of this width and height."""
    return abs(mask.width * size[1] / (mask.height * size[0]) - 1) <= OFF_SHAPE
