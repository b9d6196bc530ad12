"""Whatever a file calls colour -> sRGB in 8 bits: deep channels scaled, profiles followed, inks and palettes mixed."""

from io import BytesIO

import numpy as np
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION, TiffImageFile

SHADES = 2**16
TWELVE_BITS = 2**12
WHITE_IS_ZERO = 0
APART = 2
"""The planar configuration in which each channel is stored by itself."""


def stored_as(picture: ImageFile) -> str:
    """Pillow's name for how pixels lie in the file, such as "RGB;16B". Gone once they are read."""
    if not picture.tile:
        return ""
    arguments = picture.tile[0].args
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def is_deep(stored: str) -> bool:
    """Whether a channel has more than 8 bits."""
    return ";16" in stored or ";12" in stored


def eight_bits(picture: ImageFile, stored: str) -> Image.Image:
    """Channels of more than 8 bits scaled, where Pillow alone would clip grey to white."""
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers, and what is white among them is not said")
    if picture.mode == "I":
        raise ValueError("its grey has 32 bits, or a sign, and what is white in it is not said")
    if _channels_lie_apart(picture):
        raise ValueError("its 16-bit channels are stored one after the other")
    if picture.mode.startswith("I;16"):
        return _scaled_grey(picture, stored)
    hidden = picture.info.get("transparency")
    if is_deep(stored) and isinstance(hidden, tuple):
        # Pillow keeps the high byte of each channel, and 16 bits of the colour that stands for nothing.
        picture.info["transparency"] = tuple(channel >> 8 for channel in hidden)
    return picture


def _channels_lie_apart(picture: Image.Image) -> bool:
    """Pillow takes such a TIFF's low bytes for whole channels."""
    if not isinstance(picture, TiffImageFile) or picture.tag_v2.get(PLANAR_CONFIGURATION) != APART:
        return False
    bits = picture.tag_v2.get(BITSPERSAMPLE, ())
    return len(bits) > 1 and max(bits) > 8


def _scaled_grey(picture: ImageFile, stored: str) -> Image.Image:
    white = TWELVE_BITS - 1 if ";12" in stored else SHADES - 1
    table = (np.arange(SHADES) * (255 / white)).round().clip(0, 255).astype(np.uint8)
    if isinstance(picture, TiffImageFile) and picture.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == WHITE_IS_ZERO:
        table = table[::-1]
    shades = np.asarray(picture)
    grey = Image.fromarray(table[shades])
    hidden = picture.info.get("transparency")
    if isinstance(hidden, int):
        grey.putalpha(Image.fromarray((shades != hidden).astype(np.uint8) * np.uint8(255)))
    grey.info = {key: value for key, value in picture.info.items() if key != "transparency"}
    return grey


def to_srgb(picture: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """The colours without alpha as sRGB, and what had to be done for it."""
    plain, notes = _without_alpha(picture), _kind(picture)
    profile = picture.info.get("icc_profile")
    if not profile:
        return _as_rgb(plain), notes
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        name = " ".join(ImageCms.getProfileDescription(source).split())
        if "sRGB" in name:
            return _as_rgb(plain), notes
        converted = _converted(plain, source)
    except (ImageCms.PyCMSError, OSError):  # damaged, or for other channels than the picture has
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


def _kind(picture: Image.Image) -> tuple[str, ...]:
    if picture.mode == "CMYK":
        return ("CMYK",)
    return ("palette",) if picture.mode in {"P", "PA"} else ()


def _without_alpha(picture: Image.Image) -> Image.Image:
    """The colours alone, in a mode that an ICC profile can speak of."""
    if picture.mode in {"LA", "1"}:
        return picture.convert("L")
    if picture.mode in {"L", "RGB", "CMYK"}:
        return picture
    return picture.convert("RGBA").convert("RGB")


def _as_rgb(plain: Image.Image) -> Image.Image:
    """Without the copy that Pillow makes of what is RGB already."""
    return plain if plain.mode == "RGB" else plain.convert("RGB")
