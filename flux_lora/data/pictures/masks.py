"""A mask file as everything reads it: the loss, the crop and the page agree on what it keeps."""

from pathlib import Path

from PIL import Image

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.pictures.decode import decode

OFF_SHAPE = 0.02
"""How far the mask's width over height may be from the picture's, as a share."""


def read_mask(file: Path) -> Image.Image:
    """Grey, upright: white counts fully, and what is transparent for nothing. DataError if it cannot be read."""
    decoded = decode(file, AlphaPolicy.mask)
    grey = decoded.picture.convert("L")
    if decoded.opacity is None:
        return grey
    return Image.composite(grey, Image.new("L", grey.size), decoded.opacity)


def has_shape_of(mask: Image.Image, size: tuple[int, int]) -> bool:
    """Whether the mask can lie over a picture of this width and height."""
    return abs(mask.width * size[1] / (mask.height * size[0]) - 1) <= OFF_SHAPE
