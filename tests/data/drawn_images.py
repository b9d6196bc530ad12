"""Small images for the data room's tests."""

from pathlib import Path

import numpy as np
from PIL import Image

from flux_lora.data.samples import Sample


def gradient(width: int = 48, height: int = 32, seed: int = 0) -> Image.Image:
    """Left to right red, top to bottom green, one blue: no two corners are alike."""
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    blue = np.full_like(red, (37 * seed) % 256)
    return Image.fromarray(np.stack([red, green, blue], axis=-1).astype(np.uint8))


def write_sample(folder: Path, name: str, caption: str | None, drawn: Image.Image | None = None) -> Sample:
    """One image with its caption beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    image = folder / name
    (drawn or gradient(seed=len(list(folder.iterdir())))).save(image)
    if caption is not None:
        image.with_suffix(".txt").write_text(caption)
    return Sample(image=image, caption=caption or "")
