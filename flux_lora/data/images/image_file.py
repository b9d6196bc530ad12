"""Open an image file: known formats, size limits, EXIF orientation, number of frames. No pixels are read."""

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
"""Pillow formats that are read. It knows more, and runs Ghostscript on one of them whatever the file's ending."""
HEIF = "HEIF"
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
HEAD_BYTES = 64

MOST_PIXELS = 200_000_000
LONGEST_SIDE = 65_535
SHORTEST_SIDE = 16
Image.MAX_IMAGE_PIXELS = MOST_PIXELS  # Pillow's own limit would warn of a good camera's images
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
"""What Pillow raises for truncated, mislabelled or malicious files."""

DAMAGED_EXIF = 0
"""Stands for an orientation that cannot be read; EXIF itself uses 1 to 8."""
PNG_SIGNATURE_BYTES = 8
PNG_CHECKSUM_BYTES = 4


@contextmanager
def open_image_file(file: Path) -> Iterator[ImageFile]:
    """The opened file, its size within the limits. What Pillow raises in the body becomes a DataError with its name."""
    try:
        # By a handle: Pillow maps a plain TIFF into memory where it knows its name, and scrambles it if it is turned.
        with file.open("rb") as content, Image.open(content, formats=_kinds(file, content)) as image:
            _within_limits(file, *image.size)
            yield image
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


def orientation(file: Path, image: ImageFile) -> int:
    """EXIF orientation, 1 to 8, 1 being upright; DAMAGED_EXIF where it cannot be read. Call it before pixels are."""
    if isinstance(image, PngImageFile) and "exif" not in image.info:
        late_exif = _png_exif(file)
        if late_exif:
            image.info["exif"] = b"Exif\0\0" + late_exif
    try:
        # Not PngImageFile.getexif, which reads all pixels to reach the chunks behind them.
        turn = Image.Image.getexif(image).get(ExifTags.Base.Orientation)
    except UNREADABLE:
        return DAMAGED_EXIF
    turn = image.info.get("original_orientation") if image.format == HEIF else turn
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def is_turned_on_loading(image: ImageFile) -> bool:
    """Whether Pillow applies the orientation as it loads pixels; its size is then upright from the start."""
    return image.format in {"TIFF", HEIF}


def frames(file: Path, image: ImageFile) -> int:
    """Number of frames of an animation or of pages of a TIFF; 1 for all else."""
    if isinstance(image, PngImageFile | WebPImageFile | AvifImageFile):
        return image.n_frames
    if isinstance(image, GifImageFile | TiffImageFile):
        # Counting walks through the file, and may meet damage far behind the first frame: on an opening of its own.
        with suppress(*UNREADABLE), Image.open(file, formats=KINDS) as again:
            assert isinstance(again, GifImageFile | TiffImageFile), "the same file is of the same kind"
            return again.n_frames
    return 1


def _kinds(file: Path, content: BinaryIO) -> tuple[str, ...]:
    if not _is_heic(content.read(HEAD_BYTES)):
        return KINDS
    if not _register_heif():
        raise DataError(
            f"{file} is a HEIC image, and pillow-heif is not installed",
            fix='run: pip install "flux_lora[heic]", or save the image as JPEG',
        )
    return (*KINDS, HEIF)


def _is_heic(head: bytes) -> bool:
    """Whether the ftyp box names a HEIC brand, whatever the file's ending. `head`: the first HEAD_BYTES."""
    brands = {head[start : start + 4] for start in range(8, len(head) - 3, 4)}
    return head[4:8] == b"ftyp" and not HEIC_BRANDS.isdisjoint(brands)


@cache
def _register_heif() -> bool:
    """Let Pillow read HEIC; False without pillow-heif, whose only importer this is."""
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
            fix="cut it into images, or take it out of the folder",
        )
    if min(width, height) < SHORTEST_SIDE:
        raise DataError(
            f"{file} is {width} x {height}, and no side may be shorter than {SHORTEST_SIDE} pixels",
            fix="take it out of the folder, or put a larger image in its place",
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
    """The eXIf chunk of a PNG, which exiftool writes behind the pixels; empty if there is none."""
    with file.open("rb") as content:
        content.seek(PNG_SIGNATURE_BYTES)
        while len(start := content.read(8)) == 8:
            length, name = struct.unpack(">I4s", start)
            if name == b"eXIf":
                return content.read(length)
            content.seek(length + PNG_CHECKSUM_BYTES, SEEK_CUR)
    return b""
