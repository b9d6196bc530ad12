"""How a picture is lit: how bright, how even, and what is lost in black or white."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from flux_lora.data.looks.margins import GROUND_SPREAD, Ground, Pixels, Subject, off_colour

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
LOST_IN_BLACK, LOST_IN_WHITE = 3, 252
"""Levels beyond which nothing can be told apart."""
LEAST_SUBJECT, MOST_SUBJECT = 0.02, 0.85
"""Share of the picture that a thing before a sweep takes. What takes more is no thing but a scene, and its light counts
as a whole: an overexposed lawn has a white rim too."""


@dataclass(frozen=True)
class Exposure:
    """Levels are 0 to 1. A flat ground, such as a white sweep, is left out of what is called lost."""

    brightness: float
    """Mean level."""
    low: float
    """Level that 2 percent of the pixels are under."""
    high: float
    """Level that 2 percent are over."""
    black: float
    """Share of the subject that is lost in black."""
    white: float
    """Share of the subject that is lost in white."""
    warmth: float
    """Red minus blue, mean: above 0 in lamplight, below in shade."""
    entropy: float
    """Bits that a pixel's level tells: 0 for one grey, 8 for all alike often."""


def exposure_of(pixels: Pixels, ground: Ground, subject: Subject | None) -> Exposure:
    """Measure a working copy, HWC."""
    levels = pixels.reshape(-1, 3)
    luma = levels @ LUMA
    seen = _beside(levels, ground) if subject and subject.area <= MOST_SUBJECT else levels
    low, high = np.quantile(luma, (0.02, 0.98)) / 255
    shares = np.bincount(luma.astype(np.int64), minlength=256) / len(luma)
    present = shares[shares > 0]
    warmth = (levels[:, 0].mean() - levels[:, 2].mean()) / 255
    return Exposure(
        brightness=float(luma.mean() / 255),
        low=float(low),
        high=float(high),
        black=float((reduce(np.maximum, seen.T) <= LOST_IN_BLACK).mean()),
        white=float((reduce(np.minimum, seen.T) >= LOST_IN_WHITE).mean()),
        warmth=float(warmth),
        entropy=float(-(present * np.log2(present)).sum()),
    )


def _beside(levels: Pixels, ground: Ground) -> Pixels:
    """The pixels that are not the flat ground; all of them where there is none."""
    if not ground.flat:
        return levels
    away = off_colour(levels, ground.colour) > GROUND_SPREAD
    return levels[away] if away.mean() >= LEAST_SUBJECT else levels
