"""Masks that mark something else than was meant, by the rule that names them; and masks as people draw them."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = (640, 480)
INSIDE = (180, 120, 460, 380)


def oval(inside: int, outside: int) -> Image.Image:
    mask = Image.new("L", SIZE, outside)
    ImageDraw.Draw(mask).ellipse(INSIDE, fill=inside)
    return mask


def photo() -> Image.Image:
    rows, columns = np.mgrid[0 : SIZE[1], 0 : SIZE[0]]
    waves = 127 + 90 * np.sin(rows / 17) * np.cos(columns / 23)
    return Image.fromarray(np.stack([waves, waves * 0.7, 255 - waves], -1).astype(np.uint8))


def logo_left_out() -> Image.Image:
    mask = Image.new("L", SIZE, 255)
    ImageDraw.Draw(mask).rectangle((520, 400, 600, 450), fill=0)
    return mask


def reaching_the_edge() -> Image.Image:
    mask = Image.new("L", SIZE, 0)
    ImageDraw.Draw(mask).rectangle((120, 80, *SIZE), fill=255)
    return mask


WRONG = {
    "mask-inverted": oval(0, 255),
    "mask-empty": Image.new("L", SIZE, 0),
    "mask-full": Image.new("RGB", SIZE, "white"),
    "mask-faint": oval(1, 0),
    "mask-photo": photo(),
    "mask-coarse": oval(255, 0).resize((24, 18)),
}


RIGHT = {
    "an oval": oval(255, 0),
    "a soft oval": oval(255, 0).filter(ImageFilter.GaussianBlur(24)),
    "half weight outside": oval(255, 128),
    "at a quarter of the size": oval(255, 0).resize((160, 120)),
    "all but a mark in the corner": logo_left_out(),
    "cut by the frame": reaching_the_edge(),
}
