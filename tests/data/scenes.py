"""Made-up photographs for the image rules' tests: shapes, texture and light, another one for each seed."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from flux_lora.data.image_stats.measure import ImageStats, measure

WHITE = (255, 255, 255)


def scene(seed: int = 0, width: int = 320, height: int = 240) -> Image.Image:
    """Thirty shapes on a gradient, with grain: sharp everywhere, no two seeds alike."""
    draw = np.random.default_rng(seed)
    corners = draw.integers(60, 200, (2, 2, 3)).astype(np.uint8)
    image = Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(30):
        x, y = int(draw.integers(-20, width)), int(draw.integers(-20, height))
        wide, high = (int(side) for side in draw.integers(10, height // 3, 2))
        paint = (pen.ellipse, pen.rectangle)[int(draw.integers(2))]
        red, green, blue = (int(level) for level in draw.integers(20, 235, 3))
        paint((x, y, x + wide, y + high), fill=(red, green, blue))
    grain = draw.normal(0, 4, (height, width, 1))
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


def product(
    ground: tuple[int, int, int] = WHITE, *, at: tuple[float, float] = (0.5, 0.5), size: float = 0.4, seed: int = 0
) -> Image.Image:
    """A thing with a label before one even colour."""
    side = 256
    image = Image.new("RGB", (side, side), ground)
    tall, x, y = size * side, at[0] * side, at[1] * side
    pen = ImageDraw.Draw(image)
    pen.rounded_rectangle((x - tall / 4, y - tall / 2, x + tall / 4, y + tall / 2), radius=9, fill=(20, 110, 105))
    pen.rectangle((x - tall / 4, y - tall / 8, x + tall / 4, y + tall / 4), fill=(240, 230, 200))
    grain = np.random.default_rng(seed).normal(0, 1.5, (side, side, 1))
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


def look(image: Image.Image, name: str = "a.png", *, mask: Image.Image | None = None) -> ImageStats:
    """Measured without a file behind it."""
    return measure(Path("photos") / name, image, mask=mask)
