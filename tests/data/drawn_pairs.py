"""Photographs-like images and edits of them, drawn: what lies over each other, and what does not."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

Edit = Callable[[Image.Image], Image.Image]


def scene(seed: int = 0, size: tuple[int, int] = (240, 160)) -> Image.Image:
    """Many shapes of many colours."""
    random = np.random.default_rng(seed)
    image = Image.new("RGB", size, tuple(int(each) for each in random.integers(60, 200, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        left, top = random.integers(-20, size[0]), random.integers(-20, size[1])
        width, height = random.integers(8, 60, 2)
        box = (int(left), int(top), int(left + width), int(top + height))
        colour = tuple(int(each) for each in random.integers(0, 255, 3))
        draw.ellipse(box, fill=colour) if random.random() < 0.5 else draw.rectangle(box, fill=colour)
    return image


def painted(image: Image.Image) -> Image.Image:
    """With a red disc in it."""
    edited, (width, height) = image.copy(), image.size
    ImageDraw.Draw(edited).ellipse((width * 0.3, height * 0.2, width * 0.6, height * 0.7), fill=(220, 30, 30))
    return edited


def grey(image: Image.Image) -> Image.Image:
    """Without colours."""
    return image.convert("L").convert("RGB")


def moved(across: float, down: float) -> Edit:
    """By shares of the sides."""

    def edit(image: Image.Image) -> Image.Image:
        matrix = (1, 0, -across * image.width, 0, 1, -down * image.height)
        return image.transform(image.size, Image.Transform.AFFINE, matrix)

    return edit


def zoomed(by: float) -> Edit:
    """About the middle."""

    def edit(image: Image.Image) -> Image.Image:
        width, height = image.width / by, image.height / by
        matrix = (1 / by, 0, (image.width - width) / 2, 0, 1 / by, (image.height - height) / 2)
        return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)

    return edit


WELL_LAID: Mapping[str, Edit] = {"painted": painted, "grey": grey, "moved by a pixel": moved(1 / 240, 0)}


def write_pair(folder: Path, name: str, before: Image.Image | None, after: Image.Image, caption: str = "") -> None:
    """Into the folders before and after."""
    for part, image in (("before", before), ("after", after)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        if image:
            image.save(folder / part / f"{name}.png")
    if caption:
        (folder / "after" / f"{name}.txt").write_text(caption)
