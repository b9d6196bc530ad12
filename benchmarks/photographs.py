"""Real photographs, and what goes wrong with photographs: blur, light, JPEG, bars, marks, crops.

The photographs are those that scikit-image's wheel carries (public domain or CC0 by its own account); nothing is
downloaded. They are few, small and a mixed lot, and every table made from them says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SCENES = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
"""A person, a man with a camera, a cat, a cup, a motorcycle, a launch pad at dusk."""
SURFACES = ("brick.png", "coins.png", "grass.png", "gravel.png", "page.png", "text.png")
"""Things seen from straight above: textures, coins and print."""
INSTRUMENTS = ("cell.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "retina.jpg")
"""Through a microscope, a telescope or an eye camera: not what anybody trains on, and hard for every rule."""
ALL = SCENES + SURFACES + INSTRUMENTS
BLURRED_BY_NATURE = "clock_motion.png"
SECOND_OF_A_PAIR = "motorcycle_right.png"

Change = Callable[[Image.Image], Image.Image]
BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS


@dataclass(frozen=True)
class Way:
    """One thing done to a photograph."""

    name: str
    change: Change


def folder() -> Path | None:
    """Where the photographs are, if scikit-image is installed; it is not imported."""
    found = find_spec("skimage")
    return Path(found.origin).parent / "data" if found and found.origin else None


@lru_cache
def photograph(name: str) -> Image.Image:
    """One of them, RGB, in its own size. Kept: change a copy."""
    place = folder()
    assert place is not None, "scikit-image is not installed"
    with Image.open(place / name) as opened:
        return opened.convert("RGB")


def same(image: Image.Image) -> Image.Image:
    """As it is."""
    return image


def blurred(radius: float) -> Change:
    """Out of focus, softly: radius in pixels of an image whose longer side is 512."""
    return lambda image: image.filter(ImageFilter.GaussianBlur(radius * _unit(image)))


def defocused(radius: float) -> Change:
    """Out of focus as an open lens draws it, each point a disc."""
    return lambda image: _disc(image, radius * _unit(image))


def shaken(length: float) -> Change:
    """Moved sideways while the shutter was open."""
    return lambda image: _streak(image, max(2, round(length * _unit(image))))


def exposed(times: float) -> Change:
    """So many times the light; what does not fit is clipped, as in a camera (2.2 being the display's gamma)."""
    return lambda image: image.point([min(255, round(level * times ** (1 / 2.2))) for level in range(256)] * 3)


def faded(contrast: float) -> Change:
    """Greyed towards the middle."""
    return lambda image: image.point([round(128 + (level - 128) * contrast) for level in range(256)] * 3)


def jpeg(quality: int) -> Change:
    """Saved as JPEG and opened again."""
    return lambda image: _saved(image, quality)


def resized(times: float, how: Image.Resampling = LANCZOS) -> Change:
    """Made larger or smaller."""
    return lambda image: image.resize((round(image.width * times), round(image.height * times)), how)


def enlarged(times: float, how: Image.Resampling = BICUBIC) -> Change:
    """Made smaller and brought back: what it looks like to have been enlarged before."""
    return lambda image: resized(1 / times)(image).resize(image.size, how)


def after(first: Change, second: Change) -> Change:
    """One thing, then another."""
    return lambda image: second(first(image))


def cropped(left: float, top: float, right: float, bottom: float) -> Change:
    """Shares cut away at each side."""

    def cut(image: Image.Image) -> Image.Image:
        width, height = image.size
        box = (left * width, top * height, width - right * width, height - bottom * height)
        return image.crop(tuple(round(edge) for edge in box))

    return cut


def barred(top: float, side: float = 0.0, colour: str = "black") -> Change:
    """Put between bars, shares of the height and width at both ends."""

    def framed(image: Image.Image) -> Image.Image:
        x, y = round(side * image.width), round(top * image.height)
        wide = Image.new("RGB", (image.width + 2 * x, image.height + 2 * y), colour)
        wide.paste(image, (x, y))
        return wide

    return framed


def noisy(deviation: float, *, grey: bool = False) -> Change:
    """As a camera draws it in the dark; or as film does, the same in all channels."""

    def changed(image: Image.Image) -> Image.Image:
        shape = (image.height, image.width, 1 if grey else 3)
        grain = np.random.default_rng(0).normal(0, deviation, shape)
        return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))

    return changed


def beside(*others: Image.Image, gap: int = 0) -> Change:
    """Set left of others, as high as they are, in one image."""

    def changed(image: Image.Image) -> Image.Image:
        whole = Image.new("RGB", (sum(each.width + gap for each in (image, *others)) - gap, image.height), "white")
        for at, each in enumerate((image, *others)):
            whole.paste(each, (at * (image.width + gap), 0))
        return whole

    return changed


def beside_photograph(gap: float) -> Change:
    """Set left of another photograph, with a gap of so much of the width."""

    def changed(image: Image.Image) -> Image.Image:
        return beside(_another(image.size), gap=round(gap * image.width))(image)

    return changed


def four_in_one(image: Image.Image) -> Image.Image:
    """Two above two: itself, two others and a part of itself."""
    width, height = image.width // 2, image.height // 2
    whole, part = image.resize((width, height)), image.crop((width // 2, height // 2, width * 3 // 2, height * 3 // 2))
    upper, lower = beside(_another(whole.size))(whole), beside(part)(_another(whole.size, "rocket.jpg"))
    made = Image.new("RGB", (upper.width, 2 * height))
    made.paste(upper, (0, 0))
    made.paste(lower, (0, height))
    return made


def _another(size: tuple[int, int], name: str = "coffee.png") -> Image.Image:
    return photograph(name).resize(size)


def turned(degrees: int) -> Change:
    """Counterclockwise."""
    return lambda image: image.rotate(degrees, expand=True)


def filled(share: float) -> Change:
    """Brought to a wide frame whose sides are itself, enlarged and blurred."""

    def changed(image: Image.Image) -> Image.Image:
        tall = image.resize((round(image.height * 0.7), image.height))
        wide = image.resize((round(tall.width / share), image.height)).filter(ImageFilter.GaussianBlur(12))
        wide.paste(tall, ((wide.width - tall.width) // 2, 0))
        return wide

    return changed


def as_screenshot(image: Image.Image) -> Image.Image:
    """Under a telephone's status bar and over its three buttons."""
    bar = max(14, round(0.06 * image.height))
    shot = Image.new("RGB", (image.width, image.height + 2 * bar), "#101418")
    shot.paste(image, (0, bar))
    pen, font = ImageDraw.Draw(shot), ImageFont.load_default(size=bar * 0.6)
    pen.text((bar * 0.4, bar * 0.15), "12:41", fill="white", font=font)
    pen.text((image.width - bar * 2.4, bar * 0.15), "87 %", fill="white", font=font)
    for place in (0.25, 0.5, 0.75):
        x, y = place * image.width, image.height + 1.5 * bar
        pen.ellipse((x - bar / 5, y - bar / 5, x + bar / 5, y + bar / 5), outline="white", width=2)
    return shot


def signed(image: Image.Image) -> Image.Image:
    """With a photographer's line in the corner."""
    return _written(image, "(c) studio north 2024", at=(0.97, 0.96), anchor="rs", size=0.035, opacity=200)


def stamped(image: Image.Image) -> Image.Image:
    """With a stock agency's name across, half transparent."""
    return _written(image, "shutterpress", at=(0.5, 0.5), anchor="mm", size=0.12, opacity=120)


def _written(
    image: Image.Image, text: str, *, at: tuple[float, float], anchor: str, size: float, opacity: int
) -> Image.Image:
    layer = Image.new("RGBA", image.size, (255, 255, 255, 0))
    font = ImageFont.load_default(size=max(8.0, size * max(image.size)))
    place = (at[0] * image.width, at[1] * image.height)
    ImageDraw.Draw(layer).text(place, text, fill=(255, 255, 255, opacity), font=font, anchor=anchor)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def _unit(image: Image.Image) -> float:
    return max(image.size) / 512


def _disc(image: Image.Image, radius: float) -> Image.Image:
    """The mean over a disc, row by row."""
    reach = int(np.ceil(radius))
    padded = np.pad(np.asarray(image, dtype=np.float64), ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = image.height, image.width
    total, count = np.zeros((height, width, 3)), 0
    for down in range(-reach, reach + 1):
        half = int(np.sqrt(max(0.0, radius**2 - down**2)))
        sums = np.cumsum(padded[reach + down : reach + down + height], axis=1)
        start = reach - half
        before = sums[:, start - 1 : start - 1 + width] if start else np.pad(sums, ((0, 0), (1, 0), (0, 0)))[:, :width]
        total += sums[:, start + 2 * half : start + 2 * half + width] - before
        count += 2 * half + 1
    return Image.fromarray((total / count).round().astype(np.uint8))


def _streak(image: Image.Image, length: int) -> Image.Image:
    padded = np.pad(np.asarray(image, dtype=np.float64), ((0, 0), (length // 2 + 1, length), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=1)
    mean = (sums[:, length : length + image.width] - sums[:, : image.width]) / length
    return Image.fromarray(mean.round().astype(np.uint8))


def _saved(image: Image.Image, quality: int) -> Image.Image:
    held = BytesIO()
    image.save(held, "JPEG", quality=quality)
    with Image.open(held) as opened:
        return opened.convert("RGB")
