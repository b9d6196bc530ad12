"""What one picture looks like, in numbers: measured once, judged by the rules of rules/pictures, twins and whole."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from flux_lora.data.looks.detail import Grey, blockiness, finer_than_half, sharpness
from flux_lora.data.looks.lettering import find_lettering
from flux_lora.data.looks.light import Exposure, exposure_of
from flux_lora.data.looks.margins import Borders, Ground, Subject, find_borders, find_ground, find_subject
from flux_lora.data.looks.parts import small_copy
from flux_lora.data.looks.prints import colours_of, perceptual_hashes

WORKING_SIDE = 512
"""Pixels of the longer side of the copy that most is measured on: about what training sees."""
WINDOW = 512
"""Pixels a side of the piece that is looked at in full size, where the picture has most to show."""
FINEST_STEPS = 16
STANDARD_STEP = 15.375
"""The mean of the finest steps in the standard's table for grey; quality scales them, and clips the coarse ones."""


@dataclass(frozen=True)
class ImageStats:
    """One picture, measured."""

    image: Path
    width: int
    """Pixels, upright."""
    height: int
    format: str
    """As the file says: JPEG, PNG; empty where it is not known."""
    quality: int
    """Of a JPEG, 1 to 100; 0 for others."""
    sharpness: float
    """As training will see it. See data/looks/detail.py."""
    finer_than_half: float
    """In full size. See data/looks/detail.py."""
    blockiness: float
    exposure: Exposure
    borders: Borders
    ground: Ground
    subject: Subject | None
    """Where the thing is, if a mask or a flat ground tells."""
    masked: bool
    lettering: str
    """Where a line of small letters is, such as "bottom right"; empty where none was seen."""
    perceptual_hashes: bytes
    """See data/looks/prints.py."""
    colours: bytes
    copy: bytes
    """See data/looks/parts.py."""
    digest: str
    """Of the pixels: the same for the same picture in a PNG and a BMP."""

    @property
    def aspect(self) -> float:
        """Longer side over shorter."""
        return max(self.width, self.height) / min(self.width, self.height)


def measure(
    image: Path, picture: Image.Image, *, size: tuple[int, int] | None = None, mask: Image.Image | None = None
) -> ImageStats:
    """Measure a decoded picture: RGB, upright. `size` is the file's own, if the picture was decoded smaller than it."""
    width, height = size or picture.size
    small = _working_copy(picture)
    pixels = np.asarray(small)
    margins = find_borders(pixels)
    inner = pixels[margins.top : len(pixels) - margins.bottom, margins.left : pixels.shape[1] - margins.right]
    grey, ground = _grey(Image.fromarray(inner)), find_ground(inner)
    subject = find_subject(inner, ground, None if mask is None else _within(mask, small, margins))
    full_size = _busiest_window(picture, small)
    format_name, quality = _written_as(image)
    return ImageStats(
        image=image,
        width=width,
        height=height,
        format=format_name,
        quality=quality,
        sharpness=sharpness(grey),
        finer_than_half=finer_than_half(full_size),
        blockiness=blockiness(full_size),
        exposure=exposure_of(inner, ground, subject),
        borders=margins.scaled(width / small.width),
        ground=ground,
        subject=subject,
        masked=mask is not None,
        lettering=find_lettering(grey),
        perceptual_hashes=perceptual_hashes(small),
        colours=colours_of(small),
        copy=small_copy(small),
        digest=sha256(f"{picture.size}".encode() + picture.tobytes()).hexdigest(),
    )


def quality_of(tables: Mapping[int, Sequence[int]]) -> int:
    """The quality that a JPEG was saved with, as the standard's tables would have it."""
    times = sum(sorted(tables[0])[:FINEST_STEPS]) / FINEST_STEPS / STANDARD_STEP
    quality = 100 - times * 50 if times <= 1 else 50 / times
    return max(1, min(100, round(quality)))


def _written_as(image: Path) -> tuple[str, int]:
    """The format and, for a JPEG, its quality, from the head of the file alone."""
    try:
        with Image.open(image) as opened:
            tables = opened.quantization if isinstance(opened, JpegImagePlugin.JpegImageFile) else {}
            return opened.format or "", quality_of(tables) if tables else 0
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
        return "", 0


def _working_copy(picture: Image.Image) -> Image.Image:
    """Never larger than the picture."""
    small = picture if picture.mode == "RGB" else picture.convert("RGB")
    scale = WORKING_SIDE / max(picture.size)
    if scale >= 1:
        return small
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return small.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _within(mask: Image.Image, small: Image.Image, margins: Borders) -> NDArray[np.uint8]:
    """The mask at working size, without the bars."""
    shown = np.asarray(mask.convert("L").resize(small.size))
    return shown[margins.top : len(shown) - margins.bottom, margins.left : shown.shape[1] - margins.right]


def _busiest_window(picture: Image.Image, small: Image.Image) -> Grey:
    """A piece of the picture in full size, around the place with the strongest edges."""
    if max(picture.size) <= WINDOW:
        return _grey(picture)
    coarse = np.asarray(small.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float32)
    return _grey(picture.crop(_window_at(coarse, picture.size)))


def _window_at(coarse: Grey, size: tuple[int, int]) -> tuple[int, int, int, int]:
    down, across = np.gradient(coarse)
    edges = np.hypot(down, across)
    row, column = np.unravel_index(int(edges.argmax()), edges.shape)
    width, height = (min(WINDOW, side) for side in size)
    left = int(np.clip((column + 0.5) / 32 * size[0] - width / 2, 0, size[0] - width))
    top = int(np.clip((row + 0.5) / 32 * size[1] - height / 2, 0, size[1] - height))
    return left, top, left + width, top + height


def _grey(picture: Image.Image) -> Grey:
    return np.asarray(picture.convert("L"), dtype=np.float32)
