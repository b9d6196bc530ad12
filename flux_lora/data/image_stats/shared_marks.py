"""Marks that several images share at one place: watermarks, which stay where all else changes.

The fine detail of two photos has nothing in common at the same place, unless something lies over both. So small windows
of detail are correlated, image by image. Where a group of images agrees in several windows, while what is under them
differs in brightness, they have a mark in common. One background agrees in brightness, too, and one scene in other
light has the same large shapes: those are no marks.

Shape letters: N images, H W pixels, D pixels and T tiles of a window.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]

SIDE = 256
"""Pixels of the longer side of the copy that detail is taken from."""
AROUND = 4
"""Pixels on each side over which brightness is taken away."""
STRONGEST = 6
"""Levels that detail is clipped to, so that an edge of the photo does not outweigh a faint letter."""
STEP = 12
"""Pixels from one window to the next; a window is twice as wide and high."""
FLOOR = 1.0
"""Mean square of detail that is added to each window's: what is flat agrees with nothing."""
FEWEST, SHARE = 4, 1 / 8
"""Images with the mark, and their share of those that are compared: among many, some agree by chance."""
AGREES = 0.2
"""Correlation of two images' windows from which they may have a mark in common."""
SURE = 0.15
"""Correlation that three quarters of a group's pairs reach. Photos of one thing reached 0.06 where none had a mark."""
DIFFERS = 6.0
"""Levels between two images in each of a window's tiles, from which they are not the same there anyway."""
UNLIKE = 0.2
"""Least share of a group's pairs that differ so."""
ONE_SCENE = 0.6
"""Correlation of two images' tiles from which they are one scene in other light, and share their detail by right."""
PLACES = 3
"""Windows in which the same images agree: by chance others do in each."""
FLAT = 0.4
"""Share of an image without any detail, from which it is a drawing, or empty, and is not compared: patterns that were
drawn agree, whatever their colours. Of 158 photos one in ten has as much."""
COMPARED = 200
"""Images of one shape that are compared; of more, as many are taken at even distances."""


@dataclass(frozen=True)
class Detail:
    """What of an image is compared."""

    fine: NDArray[np.int8]
    """HW: levels above and below the surroundings, in a small copy."""
    tiles: NDArray[np.uint8]
    """Mean levels of tiles of STEP by STEP pixels, a row each, a column each."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the copy."""
        height, width = self.fine.shape
        return height, width


@dataclass(frozen=True)
class SharedMark:
    """Images with something in common, and where."""

    members: tuple[int, ...]
    """Places in the sequence that was given."""
    place: str
    """Such as "bottom right"."""


def detail_of(image: Image.Image) -> Detail:
    """Of an RGB or grey image."""
    scale = SIDE / max(image.size)
    width, height = (max(STEP, round(side * scale)) for side in image.size)
    grey = np.asarray(
        image.convert("L").resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0), np.float32
    )
    fine = np.clip(np.rint(grey - _blurred(grey, AROUND)), -STRONGEST, STRONGEST).astype(np.int8)
    down, across = height // STEP, width // STEP
    tiles = grey[: down * STEP, : across * STEP].reshape(down, STEP, across, STEP).mean(axis=(1, 3))
    return Detail(fine, np.rint(tiles).astype(np.uint8))


def find_shared_marks(details: Sequence[Detail]) -> Iterator[SharedMark]:
    """A mark for each shape of images that has one."""
    for shape in sorted({each.shape for each in details}):
        members = [number for number, each in enumerate(details) if each.shape == shape and not _is_flat(each)]
        members = members[:: max(1, -(-len(members) // COMPARED))]
        if len(members) >= FEWEST and min(shape) >= 2 * STEP:
            yield from _marks([details[n] for n in members], members)


def _marks(details: Sequence[Detail], members: Sequence[int]) -> Iterator[SharedMark]:
    height, width = details[0].shape
    fine = np.stack([each.fine for each in details]).astype(np.float32)
    tiles = np.stack([each.tiles for each in details]).astype(np.float32)
    one_scene = _correlation(tiles.reshape(len(tiles), -1)) >= ONE_SCENE
    seen: list[tuple[float, float, NDArray[np.intp]]] = []
    for row, column in product(range(height // STEP - 1), range(width // STEP - 1)):
        top, left = row * STEP, column * STEP
        agreement = _correlation(fine[:, top : top + 2 * STEP, left : left + 2 * STEP].reshape(len(fine), -1))
        group = _group(
            np.where(one_scene, 0, agreement), tiles[:, row : row + 2, column : column + 2].reshape(len(tiles), -1)
        )
        if len(group):
            seen.append(((top + STEP) / height, (left + STEP) / width, group))
    together = np.zeros((len(fine), len(fine)), np.int64)
    for *_, group in seen:
        together[np.ix_(group, group)] += 1
    found = _all_together(together >= PLACES)
    if len(found) >= max(FEWEST, SHARE * len(details)):
        own = [(down, across) for down, across, group in seen if len(np.intersect1d(group, found)) >= FEWEST]
        yield SharedMark(tuple(members[int(n)] for n in found), _in_words(np.array(own)))


def _all_together(often_NN: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Images of which each agrees with each other one, most agreeing first."""
    found: list[int] = []
    for number in np.argsort(-often_NN.sum(axis=1), kind="stable"):
        if often_NN[number, [*found, number]].all():
            found.append(int(number))
    return np.array(sorted(found), np.intp)


def _is_flat(detail: Detail) -> bool:
    return float((detail.fine == 0).mean()) > FLAT


def _correlation(values_ND: Floats) -> Floats:
    """Of each pair: NN. What is flat has none."""
    centred = values_ND - values_ND.mean(axis=1, keepdims=True)
    normal = centred / np.sqrt(np.square(centred).sum(axis=1, keepdims=True) + FLOOR * centred.shape[1])
    return normal @ normal.T


def _group(agreement_NN: Floats, tiles_NT: Floats) -> NDArray[np.intp]:
    """The images whose windows agree though what is under them differs; empty where fewer than FEWEST do."""
    near = agreement_NN >= AGREES
    np.fill_diagonal(near, val=True)
    group = np.flatnonzero(near[near.sum(axis=1).argmax()])
    one, other = (group[each] for each in np.triu_indices(len(group), 1))
    unlike = np.abs(tiles_NT[one] - tiles_NT[other]).min(axis=1) >= DIFFERS
    if len(group) < FEWEST or unlike.mean() < UNLIKE:
        return group[:0]
    return group if np.quantile(agreement_NN[one, other][unlike], 0.25) >= SURE else group[:0]


def _in_words(places: NDArray[np.float64]) -> str:
    """Where a mark is, from the middles of its windows."""
    if np.ptp(places[:, 0]) > 0.6 and np.ptp(places[:, 1]) > 0.6:
        return "all over the image"
    down, across = places.mean(axis=0)
    row = "top" if down < 1 / 3 else "bottom" if down > 2 / 3 else ""
    column = "left" if across < 1 / 3 else "right" if across > 2 / 3 else ""
    return f"at the {row} {column}".replace("  ", " ").rstrip() if row or column else "in the middle"


def _blurred(grey: Floats, reach: int) -> Floats:
    """The mean of a square around each pixel, edges repeated."""
    padded = np.pad(grey.astype(np.float64), ((reach + 1, reach), (reach + 1, reach)), mode="edge")
    sums, side = padded.cumsum(axis=0).cumsum(axis=1), 2 * reach + 1
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return (total / side**2).astype(np.float32)
