"""Decode an image file: EXIF orientation applied, 8-bit sRGB, transparency handled by data.alpha.

The result is the same whatever program wrote the file. Files are only read.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.images.colour import eight_bits, is_deep, stored_as, to_srgb
from flux_lora.data.images.image_file import DAMAGED_EXIF, frames, is_turned_on_loading, open_image_file, orientation
from flux_lora.errors import DataError

NEUTRAL_GREY = (128, 128, 128)
ALPHA_NOTES = {
    AlphaPolicy.composite: "transparent parts on grey",
    AlphaPolicy.varied: "transparent parts on a ground of its own",
    AlphaPolicy.mask: "transparent parts become a mask",
}


def opacity_of(image: Image.Image) -> Image.Image | None:
    """The alpha channel, mode L, or None where every pixel is opaque."""
    if not image.has_transparency_data:
        return None
    with_alpha = image if image.mode in {"RGBA", "LA"} else image.convert("RGBA")
    opacity = with_alpha.getchannel("A")
    return None if opacity.getextrema() == (255, 255) else opacity


def composited(colours: Image.Image, opacity: Image.Image, file: Path, alpha: AlphaPolicy) -> Image.Image:
    """The image on the background of the policy. DataError under AlphaPolicy.refuse, or where all is transparent."""
    if alpha is AlphaPolicy.refuse:
        raise DataError(
            f"{file} has transparent parts",
            fix="put a background behind it and save it again, or set data.alpha=composite",
        )
    if opacity.getextrema() == (0, 0):
        raise DataError(f"{file} shows nothing: all of it is transparent", fix="take it out of the folder")
    background = own_colour(file) if alpha is AlphaPolicy.varied else NEUTRAL_GREY
    return Image.composite(colours, Image.new("RGB", colours.size, background), opacity)


def own_colour(file: Path) -> tuple[int, int, int]:
    """A background colour from the sha256 of the file: the same on every machine, another for nearly every image."""
    red, green, blue = sha256(file.read_bytes()).digest()[:3]
    return red, green, blue


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> the transpose that makes the image upright. 1 needs none."""
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
DRAFT_MARGIN = {8: 1.9, 4: 1.9, 2: 1.67}
"""A JPEG may be decoded at 1/8, 1/4 or 1/2 if it is then still this many times as large as the target: the resized
image is then within 40 dB of one from a full decode, on every image in scikit-image, pages of print included."""


@dataclass(frozen=True)
class Decoded:
    """A decoded image, and notes on what was converted."""

    image: Image.Image  # RGB
    opacity: Image.Image | None = None  # L, the alpha channel as a loss mask, under data.alpha=mask
    notes: tuple[str, ...] = ()
    reduced: int = 1
    """JPEG draft factor: one pixel stands for this many of the file's, along each side."""

    @property
    def spans(self) -> tuple[int, int]:
        """Width and height in the file's pixels; up to `reduced` - 1 more where the last pixels are partial."""
        return self.image.width * self.reduced, self.image.height * self.reduced


def alpha_of_reference(alpha: AlphaPolicy) -> AlphaPolicy:
    """What becomes of transparency in what an image was made from: it has no mask of its own."""
    return AlphaPolicy.composite if alpha is AlphaPolicy.mask else alpha


def decode(file: Path, alpha: AlphaPolicy, *, cover: tuple[int, int] | None = None) -> Decoded:
    """The image upright, sRGB, opaque, 8 bits a channel. DataError where it cannot be decoded, or alpha is refused.

    With `cover`, a width and height, a JPEG may come reduced, still amply larger than that, in half the time.
    """
    with open_image_file(file) as stored:
        frame_count, turn = frames(file, stored), orientation(file, stored)
        raw_mode, width = stored_as(stored), stored.width
        _reduce(stored, (cover[1], cover[0]) if cover and turn in SIDEWAYS else cover)
        reduced = round(width / stored.width)
        _load(stored)
        upright = eight_bits(stored, raw_mode)
        if turn in TURNS and not is_turned_on_loading(stored):
            upright = upright.transpose(TURNS[turn])
        opacity = opacity_of(upright)
        image, colour_notes = to_srgb(upright)
    if opacity is not None:
        image = composited(image, opacity, file, alpha)
    image.info = {}  # its profile, orientation and transparency are applied, and would be saved with a copy
    notes = (*_notes(frame_count, turn, deep=is_deep(raw_mode)), *colour_notes)
    return Decoded(
        image,
        opacity if alpha is AlphaPolicy.mask else None,
        notes if opacity is None else (*notes, ALPHA_NOTES[alpha]),
        reduced,
    )


def open_image(file: Path, alpha: AlphaPolicy) -> Image.Image:
    """The decoded image alone."""
    return decode(file, alpha).image


def upright_size(file: Path) -> tuple[int, int]:
    """Width and height after EXIF orientation, without reading pixels."""
    with open_image_file(file) as stored:
        width, height = stored.size
        sideways = orientation(file, stored) in SIDEWAYS and not is_turned_on_loading(stored)
    return (height, width) if sideways else (width, height)


def _reduce(stored: ImageFile, cover: tuple[int, int] | None) -> None:
    """Set the decoder's draft size. JPEG only: a HEIC decoder would give the camera's thumbnail."""
    if cover is None or not isinstance(stored, JpegImageFile):
        return
    spare = min(stored.width / cover[0], stored.height / cover[1])
    for times, margin in DRAFT_MARGIN.items():
        if spare >= times * margin:
            stored.draft(None, (stored.width // times, stored.height // times))
            return


def _load(stored: ImageFile) -> None:
    """Read the pixels. ValueError where a damaged HEIC holds more than its header says: crops are planned by that."""
    width, height = stored.size
    stored.load()
    if stored.size != (width, height):
        raise ValueError(f"its header tells of {width} x {height} pixels, and {stored.width} x {stored.height} come")


def _notes(frame_count: int, turn: int, *, deep: bool) -> tuple[str, ...]:
    notes = {
        f"first frame of {frame_count}": frame_count > 1,
        "turned upright": turn in TURNS,
        "damaged EXIF ignored": turn == DAMAGED_EXIF,
        "16-bit scaled": deep,
    }
    return tuple(note for note, holds in notes.items() if holds)
