"""An image file -> upright sRGB pixels, the same whatever program wrote it. Originals are never changed.

Shape letters: C channels (3), H W height and width.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms, ImageOps
from torch import Tensor

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.buckets import Bucket
from flux_lora.errors import DataError

NEUTRAL_GREY = (128, 128, 128)
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
SIXTEEN_BITS_PER_EIGHT = 257
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises for files that are cut short, mislabelled or hostile."""


def open_image(file: Path, alpha: AlphaPolicy) -> Image.Image:
    """The picture as people see it: upright, sRGB, opaque, 8 bits a channel."""
    with _readable(file), Image.open(file) as opened:
        opened.load()
        picture = _eight_bit(ImageOps.exif_transpose(opened))
    opacity = _opacity(picture)
    if opacity is None:
        return _to_srgb(picture)
    if alpha is AlphaPolicy.refuse:
        raise DataError(
            f"{file} has transparent parts",
            fix="put a background behind it and save it again, or set data.alpha=composite",
        )
    return Image.composite(_to_srgb(picture), Image.new("RGB", picture.size, NEUTRAL_GREY), opacity)


def upright_size(file: Path) -> tuple[int, int]:
    """Width and height as people see the picture, without reading its pixels."""
    with _readable(file), Image.open(file) as opened:
        turned_already = opened.format == "TIFF"  # Pillow tells a TIFF's size as it will be after loading
        sideways = not turned_already and opened.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
        width, height = opened.size
    return (height, width) if sideways else (width, height)


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        reason = str(error).replace(str(file), file.name).strip() or type(error).__name__
        raise DataError(
            f"{file} cannot be read: {reason}", fix="save it again as PNG or JPEG from a program that opens it"
        ) from error


def fit(image: Image.Image, bucket: Bucket) -> Image.Image:
    """Exactly the bucket: scaled until it covers it, the rest cropped evenly from both sides."""
    return ImageOps.fit(image, (bucket.width, bucket.height), method=Image.Resampling.LANCZOS)


def to_pixels(image: Image.Image) -> Tensor:
    """An RGB picture as CHW in [-1, 1]."""
    values = torch.from_numpy(np.array(image, dtype=np.uint8))  # HWC
    return values.permute(2, 0, 1).float() / 127.5 - 1


def _eight_bit(image: Image.Image) -> Image.Image:
    """Scanners and renderers write grey in 16 bits and more; Pillow alone would clip it to white."""
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    divisor = 1 if image.mode == "I" and values.max(initial=0) <= np.iinfo(np.uint8).max else SIXTEEN_BITS_PER_EIGHT
    grey = Image.fromarray((values / divisor).round().clip(0, 255).astype(np.uint8))
    grey.info = {key: value for key, value in image.info.items() if key != "transparency"}
    return grey


def _opacity(image: Image.Image) -> Image.Image | None:
    """How opaque each pixel is, or None where all of them are."""
    if not image.has_transparency_data:
        return None
    opacity = image.convert("RGBA").getchannel("A")
    return None if opacity.getextrema() == (255, 255) else opacity


def _to_srgb(image: Image.Image) -> Image.Image:
    """Drop alpha, and turn the file's own colours into sRGB by its ICC profile, if it has one."""
    plain = _without_alpha(image)
    profile = image.info.get("icc_profile")
    if not profile:
        return plain.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return plain.convert("RGB")
        converted = ImageCms.profileToProfile(
            plain,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError):  # a damaged profile, or one for other channels than the picture has
        return plain.convert("RGB")
    assert converted is not None, "only an in-place conversion returns nothing"
    return converted


def _without_alpha(image: Image.Image) -> Image.Image:
    """The colours alone, in a mode that an ICC profile can speak of."""
    if image.mode in {"LA", "1"}:
        return image.convert("L")
    if image.mode in {"L", "RGB", "CMYK"}:
        return image
    return image.convert("RGBA").convert("RGB")
