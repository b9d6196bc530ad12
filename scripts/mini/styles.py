"""A style that the base has never seen, for the template: a cyanotype, all in blues."""

from PIL import Image, ImageOps

SHADOW, MIDDLE, LIGHT = (8, 20, 74), (62, 112, 170), (238, 240, 226)


def cyanotype(image: Image.Image) -> Image.Image:
    """Brightness alone, from dark blue to paper."""
    return ImageOps.colorize(image.convert("L"), black=SHADOW, white=LIGHT, mid=MIDDLE)
