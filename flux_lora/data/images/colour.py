"""Any colour layout -> 8-bit sRGB: bit depths scaled, ICC profiles applied, CMYK, palette and grey converted.

Shape letters: H W height and width.
"""

from io import BytesIO

import numpy as np
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION, TiffImageFile

SIXTEEN_BIT_LEVELS = 2**16
TWELVE_BIT_LEVELS = 2**12
WHITE_IS_ZERO = 0
PLANAR = 2
"""TIFF PlanarConfiguration in which each channel is stored by itself."""


def stored_as(image: ImageFile) -> str:
    """Pillow's raw mode of the file, such as "RGB;16B"; empty once its pixels are loaded."""
    if not image.tile:
        return ""
    arguments = image.tile[0].args
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def is_deep(stored: str) -> bool:
    """Whether a raw mode has more than 8 bits a channel."""
    return ";16" in stored or ";12" in stored


def eight_bits(image: ImageFile, stored: str) -> Image.Image:
    """Scale channels of more than 8 bits to 8, where Pillow alone would clip grey to white.

    ValueError for floats, 32-bit grey and planar 16-bit channels: their white level, or their layout, is unknown.
    """
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, and what is white among them is not said")
    if image.mode == "I":
        raise ValueError("its grey has 32 bits, or a sign, and what is white in it is not said")
    if _has_deep_planes(image):
        raise ValueError("its 16-bit channels are stored one after the other")
    if image.mode.startswith("I;16"):
        return _scaled_grey(image, stored)
    transparent = image.info.get("transparency")
    if is_deep(stored) and isinstance(transparent, tuple):
        # Pillow keeps the high byte of each channel, but all 16 bits of the colour that means transparent.
        image.info["transparency"] = tuple(channel >> 8 for channel in transparent)
    return image


def _has_deep_planes(image: Image.Image) -> bool:
    """Whether it is a planar TIFF of more than 8 bits. Pillow takes such a file's low bytes for whole channels."""
    if not isinstance(image, TiffImageFile) or image.tag_v2.get(PLANAR_CONFIGURATION) != PLANAR:
        return False
    bits = image.tag_v2.get(BITSPERSAMPLE, ())
    return len(bits) > 1 and max(bits) > 8


def _scaled_grey(image: ImageFile, stored: str) -> Image.Image:
    """12- or 16-bit grey as 8-bit grey, with an alpha channel where one level means transparent."""
    white = TWELVE_BIT_LEVELS - 1 if ";12" in stored else SIXTEEN_BIT_LEVELS - 1
    table = (np.arange(SIXTEEN_BIT_LEVELS) * (255 / white)).round().clip(0, 255).astype(np.uint8)
    if isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
        table = table[::-1]
    levels = np.asarray(image)  # HW
    grey = Image.fromarray(table[levels])
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey.putalpha(Image.fromarray((levels != transparent).astype(np.uint8) * np.uint8(255)))
    grey.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return grey


def to_srgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """The image without alpha as sRGB, and notes on what was converted. A damaged profile is ignored, with a note."""
    plain = _without_alpha(image)
    notes = {"CMYK": ("CMYK",), "P": ("palette",), "PA": ("palette",)}.get(image.mode, ())
    profile = image.info.get("icc_profile")
    if not profile:
        return _as_rgb(plain), notes
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        name = " ".join(ImageCms.getProfileDescription(source).split())
        if "sRGB" in name:
            return _as_rgb(plain), notes
        converted = _converted(plain, source)
    except (ImageCms.PyCMSError, OSError):  # damaged, or for other channels than the image has
        return _as_rgb(plain), (*notes, "damaged colour profile ignored")
    return converted, (*notes, f"converted from {name or 'a profile without a name'}")


def _converted(plain: Image.Image, source: ImageCms.ImageCmsProfile) -> Image.Image:
    converted = ImageCms.profileToProfile(
        plain,
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None, "only an in-place conversion returns nothing"
    return converted


def _without_alpha(image: Image.Image) -> Image.Image:
    """Colour channels alone, in a mode that ICC profiles describe: L, RGB or CMYK."""
    if image.mode in {"LA", "1"}:
        return image.convert("L")
    if image.mode in {"L", "RGB", "CMYK"}:
        return image
    return image.convert("RGBA").convert("RGB")


def _as_rgb(plain: Image.Image) -> Image.Image:
    """As RGB, without the copy that Pillow makes of what is RGB already."""
    return plain if plain.mode == "RGB" else plain.convert("RGB")
