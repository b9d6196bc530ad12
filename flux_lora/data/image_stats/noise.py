"""How noisy an image is at about the size of training.

What a 3 x 3 mask leaves that is blind to edges, in the calmest quarter of the tiles (Immerkaer, "Fast noise variance
estimation", 1996). Two things tell noise from texture, which such a mask leaves too: a sensor's noise is another one in
each channel, and texture is the same in all; and noise halves when the image does, and texture does not.

Shape letters: H W height and width, C colour channels (3).
"""

import numpy as np

from flux_lora.data.image_stats.borders import Pixels
from flux_lora.data.image_stats.sharpness import Grey, tiles

CALMEST = 0.25
"""Quantile of the tiles."""
HALVES = 1.3
"""Times by which what is left falls in half the size, from which it is noise: 2 in white noise, up to 1 in grass."""
LEAST_SIDE = 48
"""Pixels. Smaller images are not measured."""


def noise(pixels: Pixels) -> float:
    """Standard deviation in levels, of HWC: under 3 in photos, 8 and more in what looks grainy."""
    if min(pixels.shape[:2]) < LEAST_SIDE:
        return 0.0
    levels = pixels.astype(np.float32)
    between_channels = _calm_deviation(levels[..., 0] - levels[..., 1])
    grey = levels.mean(axis=2)
    in_grey, in_half = _calm_deviation(grey), _calm_deviation(_half(grey))
    return max(between_channels, in_grey if in_grey > HALVES * in_half else 0.0)


def _calm_deviation(grey: Grey) -> float:
    """Of what the mask 1 -2 1, -2 4 -2, 1 -2 1 leaves, taken as a normal distribution's."""
    across = grey[:, :-2] - 2 * grey[:, 1:-1] + grey[:, 2:]
    left = np.abs(across[:-2] - 2 * across[1:-1] + across[2:])
    return float(np.quantile(tiles(left), CALMEST) * np.sqrt(np.pi / 2) / 6)


def _half(grey: Grey) -> Grey:
    """The mean of each four pixels."""
    height, width = (side // 2 for side in grey.shape)
    return grey[: 2 * height, : 2 * width].reshape(height, 2, width, 2).mean(axis=(1, 3))
