"""Images of noise, and how far two sets of images are apart."""

from collections.abc import Sequence

import numpy as np
from PIL import Image


def noise_image(height: int, width: int, seed: int) -> Image.Image:
    """RGB."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def farthest(images: Sequence[Image.Image], others: Sequence[Image.Image]) -> int:
    """The largest difference of any pixel, of 255."""
    pairs = [(np.asarray(one, int), np.asarray(other, int)) for one, other in zip(images, others, strict=True)]
    return max(int(np.abs(one - other).max()) for one, other in pairs)
