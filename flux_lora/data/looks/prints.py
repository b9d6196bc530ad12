"""Fingerprints of pictures: alike for the same picture in another size, quality or slightly cropped.

The signs of the lowest frequencies of the grey values, as in the perceptual hashes that are widely used, but 255 of
them: the 63 that are usual do not tell two bottles on white from each other. The frequencies are taken of 25 windows at
once, each cropped by 5 percent at some sides, so that a cropped copy meets its window.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 128
"""Pixels of the grey copy that the frequencies are taken of."""
FREQUENCIES = 16
"""In each direction."""
BITS = FREQUENCIES**2
CROP = 0.05
INTERVALS = ((0.0, 1.0), (CROP, 1.0), (0.0, 1 - CROP), (CROP / 2, 1 - CROP / 2), (CROP, 1 - CROP))
"""What is left of a side: all, cropped at its start, at its end, a little at both, as much at both."""
WINDOWS = len(INTERVALS) ** 2
GRID = 4
"""Colours are kept of this many tiles a side."""
FAINT = 1.0
"""A picture whose grey values spread less than this many levels has no print to speak of."""

PerceptualHashes = NDArray[np.uint8]
"""Bits of each picture and window, packed: pictures, WINDOWS, BITS / 8. Window 0 is the whole picture."""


def perceptual_hashes(picture: Image.Image) -> bytes:
    """The bits of every window, the whole picture's first; empty for a picture of one grey."""
    small = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    grey = np.asarray(small, dtype=np.float32)
    if grey.std() < FAINT:
        return b""
    waves = _waves()
    found = (waves @ grey @ waves.T).reshape(len(INTERVALS), FREQUENCIES, len(INTERVALS), FREQUENCIES)
    signs = (found > 0).transpose(0, 2, 1, 3).reshape(WINDOWS, BITS)
    signs[:, 0] = False  # the mean is no pattern
    return np.packbits(signs, axis=1).tobytes()


def colours_of(picture: Image.Image) -> bytes:
    """The mean colours of a few large tiles."""
    return picture.resize((GRID, GRID), Image.Resampling.BOX, reducing_gap=2.0).tobytes()


def stack_hashes(prints: list[bytes]) -> PerceptualHashes:
    """The prints of several pictures as one array."""
    return np.frombuffer(b"".join(prints), dtype=np.uint8).reshape(len(prints), WINDOWS, BITS // 8)


def distances(whole: PerceptualHashes, windows: PerceptualHashes) -> NDArray[np.int64]:
    """Bits in which the whole picture of one differs from the nearest window of another: whole, windows."""
    signs = _signs(whole[:, 0])
    agreement = np.full((len(whole), len(windows)), -BITS, dtype=np.float32)
    for window in range(windows.shape[1]):
        np.maximum(agreement, signs @ _signs(windows[:, window]).T, out=agreement)
    return ((BITS - agreement) / 2).astype(np.int64)


def mirrored_hashes(prints: PerceptualHashes) -> PerceptualHashes:
    """What the whole pictures' prints would be with left for right: waves that are odd across change their sign."""
    odd = np.tile(np.arange(FREQUENCIES) % 2, FREQUENCIES).astype(np.uint8)
    return prints[:, :1] ^ np.packbits(odd)


def _signs(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bits as 1 and -1: then one product of matrices compares all with all."""
    return np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1


@lru_cache
def _waves() -> NDArray[np.float32]:
    """For each interval, the cosines of the lowest frequencies over it: INTERVALS * FREQUENCIES, SIDE."""
    edges = np.arange(SIDE + 1) / SIDE
    rows = []
    for start, end in INTERVALS:
        inside = (np.minimum(edges[1:], end) - np.maximum(edges[:-1], start)).clip(0)
        places = (((edges[1:] + edges[:-1]) / 2 - start) / (end - start)).clip(0, 1)
        rows.append(np.cos(np.pi * np.arange(FREQUENCIES)[:, None] * places) * inside)
    return np.concatenate(rows).astype(np.float32)
