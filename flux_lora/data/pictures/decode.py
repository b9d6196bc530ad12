"""An image file -> upright sRGB pixels, the same whatever program wrote it. Originals are never changed."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.pictures.colour import eight_bits, is_deep, stored_as, to_srgb
from flux_lora.data.pictures.picture_file import (
    DAMAGED_EXIF,
    frames,
    is_turned_on_loading,
    open_image_file,
    orientation,
)
from flux_lora.data.pictures.transparency import SAID, grounded, opacity_of

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What puts a picture upright, by its EXIF orientation."""
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
LEFT_OVER = {8: 1.9, 4: 1.9, 2: 1.67}
"""A JPEG may be decoded at 1/8, 1/4 or 1/2 if it is still this many times as large as what is wanted: the resized
picture is then within 40 dB of one from a full decode, on every picture in scikit-image, pages of print included."""


@dataclass(frozen=True)
class Decoded:
    """A picture as people see it, and what was done to its file's content for that."""

    picture: Image.Image  # RGB
    opacity: Image.Image | None = None  # L, where the picture counts, under data.alpha=mask
    notes: tuple[str, ...] = ()
    reduced: int = 1
    """One pixel stands for this many of the file's in a row."""

    @property
    def spans(self) -> tuple[int, int]:
        """What it covers in the file's pixels: those and, where its last ones are not whole, a few beyond the edge."""
        return self.picture.width * self.reduced, self.picture.height * self.reduced


def decode(file: Path, alpha: AlphaPolicy, *, cover: tuple[int, int] | None = None) -> Decoded:
    """The picture upright, sRGB, opaque, 8 bits a channel.

    A JPEG may come smaller than it is where that still covers a width and height amply, and takes half the time.
    """
    with open_image_file(file) as stored:
        many, turn, layout, width = frames(file, stored), orientation(file, stored), stored_as(stored), stored.width
        _reduce(stored, (cover[1], cover[0]) if cover and turn in SIDEWAYS else cover)
        reduced = round(width / stored.width)
        _load(stored)
        flat = eight_bits(stored, layout)
        upright = flat if is_turned_on_loading(stored) else _turned(flat, turn)
        opacity = opacity_of(upright)
        picture, colour_notes = to_srgb(upright)
    if opacity is not None:
        picture = grounded(picture, opacity, file, alpha)
    picture.info = {}  # its profile, turn and transparency are dealt with, and would be saved with a copy
    notes = (*_notes(many, turn, deep=is_deep(layout)), *colour_notes)
    return Decoded(
        picture,
        opacity if alpha is AlphaPolicy.mask else None,
        notes if opacity is None else (*notes, SAID[alpha]),
        reduced,
    )


def open_image(file: Path, alpha: AlphaPolicy) -> Image.Image:
    """The decoded picture alone."""
    return decode(file, alpha).picture


def upright_size(file: Path) -> tuple[int, int]:
    """Width and height as people see the picture, without reading its pixels."""
    with open_image_file(file) as stored:
        width, height = stored.size
        sideways = orientation(file, stored) in SIDEWAYS and not is_turned_on_loading(stored)
    return (height, width) if sideways else (width, height)


def _reduce(stored: ImageFile, cover: tuple[int, int] | None) -> None:
    """Ask the decoder for fewer pixels. Only JPEG's gives good ones: HEIC's would give the camera's thumbnail."""
    if cover is None or not isinstance(stored, JpegImageFile):
        return
    spare = min(stored.width / cover[0], stored.height / cover[1])
    for times, left_over in LEFT_OVER.items():
        if spare >= times * left_over:
            stored.draft(None, (stored.width // times, stored.height // times))
            return


def _load(stored: ImageFile) -> None:
    """Read the pixels. A damaged HEIC may hold more of them than its header says, and crops are planned by that."""
    told = stored.size
    stored.load()
    if stored.size != told:
        raise ValueError(f"its header tells of {told[0]} x {told[1]} pixels, and {stored.width} x {stored.height} come")


def _turned(picture: Image.Image, turn: int) -> Image.Image:
    return picture.transpose(TURNS[turn]) if turn in TURNS else picture


def _notes(many: int, turn: int, *, deep: bool) -> tuple[str, ...]:
    told = {
        f"first frame of {many}": many > 1,
        "turned upright": turn in TURNS,
        "damaged EXIF ignored": turn == DAMAGED_EXIF,
        "16-bit scaled": deep,
    }
    return tuple(note for note, holds in told.items() if holds)
