"""Whether an image is another one mirrored or turned by quarters: by their hashes first, then by their colours.

A quarter turn of a photo that is stored as a square is a transposition and a mirroring, and so is that of its
frequencies. Small copies and hashes are those of copies.py.

Shape letters: N images, W windows of an image, F frequencies a side (FREQUENCIES), S side of a small copy, I windows of
a side (CUTS squared), D side of what is compared (COMPARED), C colour channels (3).
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flux_lora.data.image_stats.copies import CROP, FREQUENCIES, PerceptualHashes, levels_of_copy, shrinking

COMPARED = 16
"""Pixels a side at which colours are compared; a shift by half a pixel of the small copy makes no difference."""
NEAREST = 4.0
"""Levels, root mean square, after both are made equally bright; most that a mirrored or turned copy differs by. A
bottle that stands left, lit from one side, is 8 off the mirror image of itself standing right."""
CUTS = tuple(np.linspace(0, CROP, 5))
"""Shares of a side that may have been cropped off at either end."""
TURNED = {1: "turned left", 2: "upside down", 3: "turned right"}
"""Quarter turns counterclockwise, and what such an image is called."""

Levels = NDArray[np.float32]


def mirrored_hashes(hashes: PerceptualHashes) -> PerceptualHashes:
    """Hashes of the images mirrored, all windows, NWB -> NWB: frequencies that are odd across change their sign.

    A window of the mirrored image is the mirrored window at the other side, so windows are in another order.
    """
    return hashes ^ np.packbits(np.tile(np.arange(FREQUENCIES) % 2, FREQUENCIES).astype(np.uint8))


def turned_hashes(hashes: PerceptualHashes, quarters: int) -> PerceptualHashes:
    """Hashes of the whole images turned counterclockwise, NWB -> N1B."""
    signs = np.unpackbits(hashes[:, 0]).reshape(-1, FREQUENCIES, FREQUENCIES)  # NFF
    odd = np.arange(FREQUENCIES) % 2 == 1
    for _ in range(quarters):
        signs = signs.swapaxes(1, 2)
        signs[:, odd] ^= 1
    return np.packbits(signs.reshape(len(hashes), 1, -1), axis=2)


def is_mirror_image(copy: bytes, other: bytes) -> bool:
    """Whether one is the other mirrored, and cropped by up to 5 % at any sides. What is symmetric is none."""
    ones, twos = _windows_of(copy), _windows_of(other)
    mirrored = min(_apart(ones[0], twos[:, :, ::-1]), _apart(twos[0], ones[:, :, ::-1]))
    return mirrored <= NEAREST and mirrored < min(_apart(ones[0], twos), _apart(twos[0], ones))


def turned_by(copy: bytes, other: bytes) -> int:
    """By how many quarters the other has to be turned to be the first; 0 if it is not a turned copy.

    What looks the same when it is turned, such as a plate seen from above, is no turned copy.
    """
    one, two = (_shrunk(levels_of_copy(each), _shrinking()[:1])[0] for each in (copy, other))
    apart = [_apart(one, np.rot90(two, quarters)[None]) for quarters in range(4)]
    nearest = int(np.argmin(apart))
    return nearest if apart[nearest] <= NEAREST else 0


def _apart(whole: Levels, windows: Levels) -> float:
    """Levels by which a whole image, DDC, differs from the nearest of WDDC, each made as bright: root mean square."""
    brightness = whole.mean() / np.maximum(windows.mean(axis=(1, 2, 3), keepdims=True), 1.0)
    return float(np.sqrt(np.square(windows * brightness - whole).mean(axis=(1, 2, 3))).min())


def _windows_of(copy: bytes) -> Levels:
    """Every window at the size of the comparison, WDDC, the whole first. A mirrored image has these, mirrored."""
    return _shrunk(levels_of_copy(copy), _shrinking())


def _shrunk(levels: Levels, shrink: Levels) -> Levels:
    """Each pair of windows of the two sides: SSC, IDS -> WDDC."""
    rows = np.einsum("idp,pqc->idqc", shrink, levels)
    return np.einsum("idqc,jeq->ijdec", rows, shrink, optimize=True).reshape(-1, COMPARED, COMPARED, 3)


@lru_cache
def _shrinking() -> Levels:
    """The matrices that resize each window of a side: IDS."""
    return np.stack([shrinking(before, 1 - before - behind, COMPARED) for before in CUTS for behind in CUTS])
