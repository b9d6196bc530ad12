"""Statistics of one image, measured once: size, exposure, sharpness, borders, hashes. Judged in checks/.

Shape letters: H W height and width, C colour channels (3), N pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from flux_lora.data.image_stats.borders import (
    GROUND_SPREAD,
    Borders,
    Ground,
    Pixels,
    Subject,
    find_borders,
    find_ground,
    find_subject,
    off_colour,
)
from flux_lora.data.image_stats.copies import colours_of, perceptual_hashes, small_copy
from flux_lora.data.image_stats.lettering import find_lettering
from flux_lora.data.image_stats.noise import noise
from flux_lora.data.image_stats.pieces import blurred_sides, is_collage
from flux_lora.data.image_stats.shared_marks import Detail, detail_of
from flux_lora.data.image_stats.sharpness import Grey, blockiness, enlarged, sharpness

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
LOST_IN_BLACK, LOST_IN_WHITE = 3, 252
"""Levels, of 256, up to which and from which on a pixel is clipped."""
PURE = 32
"""Level of the darkest channel below which a colour is drawn so: pure yellow has two channels at their end by right."""
LEAST_COLOUR = 12
"""Levels between the channels of the most colourful fiftieth of the pixels, from which an image is coloured."""
LEAST_SUBJECT, MOST_SUBJECT = 0.02, 0.85
"""Share of the image that a subject before a flat background takes. What takes more is a scene, and its exposure counts
as a whole: an overexposed lawn has a white rim too."""


@dataclass(frozen=True)
class Exposure:
    """Levels are 0 to 1. A flat background, such as a white sweep, does not count as clipped."""

    brightness: float
    """Mean level."""
    low: float
    """Level that 2 percent of the pixels are under."""
    high: float
    """Level that 2 percent are over."""
    black: float
    """Share of the subject's pixels that are clipped to black."""
    white: float
    """Share of the subject's pixels that are clipped to white."""
    burnt: float
    """Share of the pixels that are not white in which two channels are clipped, and that are no pure colour: what
    overexposure makes of colours, and hardly anything else does."""
    coloured: bool
    """Whether there is any colour in it."""
    warmth: float
    """Red minus blue, mean: above 0 in lamplight, below in shade."""
    entropy: float
    """Shannon entropy of the levels, in bits: 0 for one grey, 8 for a uniform histogram."""


def exposure_of(pixels: Pixels, ground: Ground, subject: Subject | None) -> Exposure:
    """Measure a working copy, HWC."""
    levels = pixels.reshape(-1, 3)  # NC
    luma = levels @ LUMA
    foreground = _without_ground(levels, ground) if subject and subject.area <= MOST_SUBJECT else levels
    low, high = np.quantile(luma, (0.02, 0.98)) / 255
    shares = np.bincount(luma.astype(np.int64), minlength=256) / len(luma)
    present = shares[shares > 0]
    darkest, brightest = reduce(np.minimum, levels.T), reduce(np.maximum, levels.T)
    warmth = (levels[:, 0].mean() - levels[:, 2].mean()) / 255
    return Exposure(
        brightness=float(luma.mean() / 255),
        low=float(low),
        high=float(high),
        black=float((reduce(np.maximum, foreground.T) <= LOST_IN_BLACK).mean()),
        white=float((reduce(np.minimum, foreground.T) >= LOST_IN_WHITE).mean()),
        burnt=_burnt(levels, darkest),
        coloured=bool(np.quantile(brightest - darkest, 0.98) >= LEAST_COLOUR),
        warmth=float(warmth),
        entropy=float(-(present * np.log2(present)).sum()),
    )


def _burnt(levels: Pixels, darkest: NDArray[np.uint8]) -> float:
    """Of levels NC and the darkest channel of each pixel."""
    clipped = sum((channel >= LOST_IN_WHITE).astype(np.uint8) for channel in levels.T)
    left = darkest < LOST_IN_WHITE
    return float(((clipped == 2) & (darkest >= PURE))[left].mean()) if left.any() else 1.0


def _without_ground(levels: Pixels, ground: Ground) -> Pixels:
    """The pixels, NC, that differ from a flat background; all of them where there is none."""
    if not ground.flat:
        return levels
    away = off_colour(levels, ground.colour) > GROUND_SPREAD
    return levels[away] if away.mean() >= LEAST_SUBJECT else levels


WORKING_SIDE = 512
"""Pixels of the longer side of the copy that most is measured on: about the size of training."""
WINDOW = 512
"""Pixels a side of the crop measured in full size, around the strongest edges."""
FINEST_STEPS = 16
"""How many of the smallest quantization steps the JPEG quality is estimated from; large ones are clipped."""
STANDARD_STEP = 15.375
"""Mean of those in the luminance table of the JPEG standard (ITU-T T.81, annex K.1), which is quality 50."""


@dataclass(frozen=True)
class ImageStats:
    """Statistics of one image."""

    image: Path
    width: int
    """Pixels, upright."""
    height: int
    format: str
    """As Pillow names it: JPEG, PNG; empty where it is not known."""
    quality: int
    """JPEG quality, 1 to 100; 0 for other formats."""
    sharpness: float
    """At WORKING_SIDE, about the size of training. See sharpness.py."""
    enlarged: int
    """How many times smaller a copy would hold all of its detail; in full size. See sharpness.py."""
    noise: float
    """In levels, at WORKING_SIDE. See noise.py."""
    blockiness: float
    """In full size. See sharpness.py."""
    exposure: Exposure
    borders: Borders
    """In pixels of the upright image."""
    ground: Ground
    subject: Subject | None
    """From the mask, or from a flat background; None without either. Within the borders."""
    collage: bool
    """Whether photos were set side by side."""
    blurred_sides: str
    """Which sides were filled with blur, such as "left and right"; empty where none were."""
    masked: bool
    """Whether it has a mask."""
    lettering: str
    """Where a line of small letters is, such as "bottom right"; empty where none was found."""
    perceptual_hashes: bytes
    """Of the whole image and 24 crops of it. See copies.py."""
    colours: bytes
    """Mean colours of 4 x 4 tiles. See copies.py."""
    copy: bytes
    """64 x 64 RGB. See copies.py."""
    detail: Detail
    """What watermarks are found by. See shared_marks.py."""
    digest: str
    """sha256 of the size and pixels: the same for the same image in a PNG and a BMP."""

    @property
    def aspect(self) -> float:
        """Longer side over shorter."""
        return max(self.width, self.height) / min(self.width, self.height)


def measure(
    image: Path, decoded: Image.Image, *, size: tuple[int, int] | None = None, mask: Image.Image | None = None
) -> ImageStats:
    """Measure a decoded image, RGB and upright. `size`: width and height of the file, if it was decoded smaller."""
    width, height = size or decoded.size
    small = _working_copy(decoded)
    pixels = np.asarray(small)  # HWC
    borders = find_borders(pixels)
    inner = _inside(pixels, borders)
    grey, ground = _grey(Image.fromarray(inner)), find_ground(inner)
    inner_mask = None if mask is None else _inside(np.asarray(mask.convert("L").resize(small.size)), borders)
    subject = find_subject(inner, ground, inner_mask)
    full_size = _busiest_window(decoded, small)
    format_name, quality = _format_and_quality(image)
    return ImageStats(
        image=image,
        width=width,
        height=height,
        format=format_name,
        quality=quality,
        sharpness=sharpness(grey),
        enlarged=enlarged(full_size),
        noise=noise(inner),
        blockiness=blockiness(full_size),
        exposure=exposure_of(inner, ground, subject),
        borders=borders.scaled(width / small.width),
        ground=ground,
        subject=subject,
        collage=is_collage(inner),
        blurred_sides=blurred_sides(inner),
        masked=mask is not None,
        lettering=find_lettering(grey),
        perceptual_hashes=perceptual_hashes(small),
        colours=colours_of(small),
        copy=small_copy(small),
        detail=detail_of(small),
        digest=sha256(f"{decoded.size}".encode() + decoded.tobytes()).hexdigest(),
    )


def quality_of(tables: Mapping[int, Sequence[int]]) -> int:
    """JPEG quality estimated from the quantization tables, as libjpeg scales the standard's: 1 to 100."""
    times = sum(sorted(tables[0])[:FINEST_STEPS]) / FINEST_STEPS / STANDARD_STEP
    quality = 100 - times * 50 if times <= 1 else 50 / times
    return max(1, min(100, round(quality)))


def _format_and_quality(image: Path) -> tuple[str, int]:
    """Format and JPEG quality from the file's header; empty and 0 where it cannot be read."""
    try:
        with Image.open(image) as opened:
            tables = opened.quantization if isinstance(opened, JpegImagePlugin.JpegImageFile) else {}
            return opened.format or "", quality_of(tables) if tables else 0
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError):
        return "", 0


def _working_copy(image: Image.Image) -> Image.Image:
    """The image reduced to WORKING_SIDE, never enlarged."""
    small = image if image.mode == "RGB" else image.convert("RGB")
    scale = WORKING_SIDE / max(image.size)
    if scale >= 1:
        return small
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return small.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _inside(values: NDArray[np.uint8], borders: Borders) -> NDArray[np.uint8]:
    """HW or HWC without the borders."""
    return values[borders.top : len(values) - borders.bottom, borders.left : values.shape[1] - borders.right]


def _busiest_window(image: Image.Image, small: Image.Image) -> Grey:
    """A WINDOW crop in full size, HW, around the strongest edge of the working copy."""
    if max(image.size) <= WINDOW:
        return _grey(image)
    coarse = np.asarray(small.convert("L").resize((32, 32), Image.Resampling.BOX), dtype=np.float32)
    return _grey(image.crop(_window_at(coarse, image.size)))


def _window_at(coarse: Grey, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the WINDOW crop of an image of `size`. `coarse`: its grey values, 32 x 32."""
    down, across = np.gradient(coarse)
    edges = np.hypot(down, across)
    row, column = np.unravel_index(int(edges.argmax()), edges.shape)
    width, height = (min(WINDOW, side) for side in size)
    left = int(np.clip((column + 0.5) / 32 * size[0] - width / 2, 0, size[0] - width))
    top = int(np.clip((row + 0.5) / 32 * size[1] - height / 2, 0, size[1] - height))
    return left, top, left + width, top + height


def _grey(image: Image.Image) -> Grey:
    """HW, 0 to 255."""
    return np.asarray(image.convert("L"), dtype=np.float32)
