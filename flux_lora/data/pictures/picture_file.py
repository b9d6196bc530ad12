"""A picture's file, opened with care: of a known kind, within limits, which way up. Its pixels are not read here."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from os import SEEK_CUR
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.AvifImagePlugin import AvifImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from flux_lora.errors import DataError

KINDS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF")
"""What is read. Pillow knows more, and runs Ghostscript on one of them whatever the file is called."""
HEIF = "HEIF"
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
HEAD_BYTES = 64

MOST_PIXELS = 200_000_000
LONGEST_SIDE = 65_535
SHORTEST_SIDE = 16
Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # Pillow's own limit would warn of a good camera's pictures
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)

UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    OverflowError,
    RuntimeError,
    struct.error,
)
"""What Pillow raises for files that are cut short, mislabelled or hostile."""

DAMAGED_EXIF = 0
"""An orientation that EXIF does not know: nobody can tell how the camera was held."""
PNG_SIGNATURE_BYTES = 8
PNG_CHECKSUM_BYTES = 4


@contextmanager
def open_image_file(file: Path) -> Iterator[ImageFile]:
    """The file within its limits. What Pillow raises while it is read becomes a DataError that names the file."""
    try:
        # By a handle: Pillow maps a plain TIFF into memory where it knows its name, and scrambles it if it is turned.
        with file.open("rb") as content, Image.open(content, formats=_kinds(file, content)) as picture:
            _within_limits(file, *picture.size)
            yield picture
    except BOMBS as error:
        raise _too_many_pixels(file, "more") from error
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise DataError(
            f"{file} cannot be read: {error.strerror}", fix="see that the file is there and that you may read it"
        ) from error
    except UNREADABLE as error:
        raise DataError(
            f"{file} cannot be read: {_reason(file, error)}",
            fix="save it again as PNG or JPEG from a program that opens it",
        ) from error


def orientation(file: Path, picture: ImageFile) -> int:
    """How the camera was held, by EXIF: 1 is upright. Found before pixels are read."""
    if isinstance(picture, PngImageFile) and "exif" not in picture.info:
        late = _png_exif(file)
        if late:
            picture.info["exif"] = b"Exif\0\0" + late
    try:
        # Past PngImageFile's own way, which reads all pixels to see what comes after them.
        told = Image.Image.getexif(picture).get(ExifTags.Base.Orientation)
    except UNREADABLE:
        return DAMAGED_EXIF
    told = picture.info.get("original_orientation") if picture.format == HEIF else told
    return told if isinstance(told, int) and 1 <= told <= 8 else 1


def is_turned_on_loading(picture: ImageFile) -> bool:
    """Whether Pillow itself puts it upright as it reads the pixels, and tells its size as it will be then."""
    return picture.format in {"TIFF", HEIF}


def frames(file: Path, picture: ImageFile) -> int:
    """How many pictures an animation or a many-paged TIFF holds; 1 for all else."""
    if isinstance(picture, PngImageFile | WebPImageFile | AvifImageFile):
        return picture.n_frames
    if isinstance(picture, GifImageFile | TiffImageFile):
        # Counting walks through the file, and may meet damage far behind the first frame: on an opening of its own.
        with suppress(*UNREADABLE), Image.open(file, formats=KINDS) as again:
            assert isinstance(again, GifImageFile | TiffImageFile), "the same file is of the same kind"
            return again.n_frames
    return 1


def _kinds(file: Path, content: BinaryIO) -> tuple[str, ...]:
    if not _is_heic(content.read(HEAD_BYTES)):
        return KINDS
    if not _heif_is_known():
        raise DataError(
            f"{file} is a HEIC picture, and pillow-heif is not installed",
            fix='run: pip install "flux_lora[heic]", or save the picture as JPEG',
        )
    return (*KINDS, HEIF)


def _is_heic(head: bytes) -> bool:
    """Whether the file says so itself, whatever its ending."""
    brands = {head[start : start + 4] for start in range(8, len(head) - 3, 4)}
    return head[4:8] == b"ftyp" and not HEIC_BRANDS.isdisjoint(brands)


@cache
def _heif_is_known() -> bool:
    """The one door to pillow-heif: Pillow reads HEIC from then on."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _within_limits(file: Path, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise _too_many_pixels(file, f"{width} x {height}, more")
    if max(width, height) > LONGEST_SIDE:
        raise DataError(
            f"{file} is {width} x {height}, and no side may be longer than {LONGEST_SIDE} pixels",
            fix="cut it into pictures, or take it out of the folder",
        )
    if min(width, height) < SHORTEST_SIDE:
        raise DataError(
            f"{file} is {width} x {height}, and no side may be shorter than {SHORTEST_SIDE} pixels",
            fix="take it out of the folder, or put a larger picture in its place",
        )


def _too_many_pixels(file: Path, size: str) -> DataError:
    return DataError(
        f"{file} is {size} than {MOST_PIXELS // 10**6} megapixels, the most that is read",
        fix="save it smaller, or take it out of the folder",
    )


def _reason(file: Path, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        if not file.stat().st_size:
            return "it is empty"
        return f"it is damaged at its start, or none of {', '.join((*KINDS, 'HEIC'))}"
    return str(error).replace(str(file), file.name).strip() or type(error).__name__


def _png_exif(file: Path) -> bytes:
    """The EXIF of a PNG that has it behind its pixels, as exiftool writes it; empty if there is none."""
    with file.open("rb") as content:
        content.seek(PNG_SIGNATURE_BYTES)
        while len(start := content.read(8)) == 8:
            length, name = struct.unpack(">I4s", start)
            if name == b"eXIf":
                return content.read(length)
            content.seek(length + PNG_CHECKSUM_BYTES, SEEK_CUR)
    return b""
