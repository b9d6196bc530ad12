"""Faults of an image that have nothing to do with what it shows: grids, lines, blown colours, blur, noise, emptiness.

Each is a number for one image, and is told by how much worse it is than in the base's image of the same prompt and
seed: a base that draws soft images is as good a reference as one that draws sharp ones, and so is a scene with little
in it.

Shape letters: N images, K measures, H W pixels, C colour channels (3).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]

NAMES = ("grid", "lines", "saturation", "blur", "noise", "empty")
SLACK: Mapping[str, float] = {"grid": 1.4, "lines": 1.2, "saturation": 0.15, "blur": 0.25, "noise": 0.6, "empty": 0.8}
"""How much worse than the base's image of the same prompt and seed counts, in the measure's own unit. Adapters that
draw well stay below it in 95 of 100 images of benchmarks/results/judged.md's tuned subjects."""
EPSILON = 1e-6


def measure_artefacts(images: Sequence[Image.Image], pixels_per_token: int) -> Floats:
    """NK, a column for each of NAMES.

    grid: ln of the spectral energy at the token's period over that of its neighbours. lines: the same for rows and
    columns of any period, at most. saturation: mean of max minus min channel. blur: share of the squared gradient that
    a mean over half a token leaves, as in Crete et al., "The blur effect" (2007): edges that are wide already lose
    little, however many there are. noise: ln of what a 3 x 3 median takes away. empty: minus ln of the standard
    deviation.
    """
    return np.array([_measure(image, pixels_per_token) for image in images])


def artefacts(measured_NK: Floats, base_NK: Floats) -> NDArray[np.bool_]:
    """Which measures of which images are worse than those of the base's images of the same prompts and seeds: NK."""
    return measured_NK - base_NK > np.array([SLACK[name] for name in NAMES])


def _measure(image: Image.Image, pixels_per_token: int) -> tuple[float, ...]:
    colours = np.asarray(image.convert("RGB"), np.float64) / 255  # HWC
    grey = colours.mean(axis=2)
    spread = colours.max(axis=2) - colours.min(axis=2)
    return (
        max(_peak(np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis), pixels_per_token) for axis in (0, 1)),
        max(_sharpest(np.abs(np.diff(grey, axis=axis)).mean(axis=1 - axis)) for axis in (0, 1)),
        float(spread.mean()),
        float(np.mean([_left_by_blurring(colours.swapaxes(0, axis), pixels_per_token // 2 + 1) for axis in (0, 1)])),
        float(np.log(np.abs(grey - _median(grey)).mean() + 1e-4)),
        -float(np.log(colours.std(axis=(0, 1)).max() + 1e-3)),
    )


def _left_by_blurring(lines: Floats, width: int) -> float:
    """Share of the squared differences along axis 0 that a mean over so many pixels leaves: 0 for hard edges alone."""
    sums = np.cumsum(np.pad(lines, ((width // 2 + 1, width - width // 2 - 1), (0, 0), (0, 0)), mode="edge"), axis=0)
    before, after = (np.square(np.diff(each, axis=0)) for each in (lines, (sums[width:] - sums[:-width]) / width))
    return 1 - float((np.maximum(before - after, 0).mean() + EPSILON) / (before.mean() + EPSILON))


def _peak(profile: Floats, period: int) -> float:
    """ln of the energy at whole multiples of 1 / period over the mean of those between; 0 where there is none."""
    energy = np.abs(np.fft.rfft(profile - profile.mean())) ** 2
    places = np.arange(1, period // 2 + 1) * len(profile) / period
    at = np.unique(np.round(places).astype(int))
    at = at[(at > 1) & (at < len(energy) - 1)]
    if len(at) == 0:
        return 0.0
    beside = (energy[at - 1] + energy[at + 1]) / 2
    return float(np.log((energy[at].mean() + EPSILON) / (beside.mean() + EPSILON)))


def _sharpest(profile: Floats) -> float:
    """ln of the strongest line over the median of all."""
    return float(np.log((profile.max() + 1e-3) / (np.median(profile) + 1e-3)))


def _median(grey: Floats) -> Floats:
    """3 x 3 median, edges repeated."""
    padded = np.pad(grey, 1, mode="edge")
    height, width = grey.shape
    windows = [padded[dy : dy + height, dx : dx + width] for dy in range(3) for dx in range(3)]
    return np.median(np.stack(windows), axis=0)
