"""Whether one picture is a part of another, or its mirror image: small copies are laid over each other.

For a part, every window of the one is laid over the others at once. Only for pairs that something else, such as
data/looks/deep.py, thinks alike: each picture in one takes some milliseconds, however many others it is compared with.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 64
"""Pixels a side of the small copies."""
FITTED = 12
"""Pixels a side that a window and the other picture are both brought to."""
SHARES = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6)
"""Of a side, that a window takes."""
PLACES = 8
"""At most so many steps between the first and the last place of a window."""
MOST_STRETCHED = 1.35
"""A window's share of the width over its share of the height, or the reverse."""
ALIKE = 0.92
"""Correlation from which on it is the same."""
FURTHEST = 14.0
"""Levels, root mean square. The same shapes in other colours are further off."""
MIRRORED = 4.0
"""Levels, root mean square, after both are made equally bright. A bottle that stands left, lit from one side, is 8 off
the mirror image of itself standing right."""

Levels = NDArray[np.float32]


def small_copy(picture: Image.Image) -> bytes:
    """A copy of SIDE by SIDE colours."""
    return picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX).tobytes()


def is_part(copy: bytes, other: bytes) -> bool:
    """Whether the one picture shows a part of the other, or the other of the one."""
    return bool(partial_copies([copy, other], [(0, 1)]))


def partial_copies(copies: Sequence[bytes], pairs: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Those of the pairs of which one picture shows a part of the other."""
    partners: dict[int, list[int]] = defaultdict(list)
    for one, other in pairs:
        partners[one].append(other)
        partners[other].append(one)
    levels = {index: _levels(copies[index]) for index in partners}
    brought = {index: _brought(each).reshape(-1) for index, each in levels.items()}
    found: set[tuple[int, int]] = set()
    for whole, parts in partners.items():
        fits = _fit(np.stack([brought[part] for part in parts]), levels[whole])
        found |= {(min(whole, part), max(whole, part)) for part, fit in zip(parts, fits, strict=True) if fit}
    return found


def is_mirror_image(copy: bytes, other: bytes) -> bool:
    """Whether the one is the other with left for right. What is the same both ways is no mirror image."""
    one, two = _coarse(copy), _coarse(other)
    brightness = (one.mean() + two.mean()) / 2
    one, two = (levels * (brightness / max(float(levels.mean()), 1.0)) for levels in (one, two))
    straight, turned = (float(np.sqrt(np.square(one - each).mean())) for each in (two, two[:, ::-1]))
    return bool(turned <= MIRRORED and turned < straight)


def _coarse(copy: bytes) -> Levels:
    """At half the size, where half a pixel to the side is no difference."""
    return _levels(copy).reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean(axis=(1, 3))


def _levels(copy: bytes) -> Levels:
    return np.frombuffer(copy, dtype=np.uint8).reshape(SIDE, SIDE, 3).astype(np.float32)


def _fit(wanted: Levels, whole: Levels) -> list[bool]:
    """Of each part, whether some window of the whole is it."""
    windows, stretched = _windows()
    rows = np.einsum("wrp,pqc->wrqc", windows, whole)
    laid = np.einsum("wrqc,vsq->wvrsc", rows, windows, optimize=True).reshape(len(windows), len(windows), -1)
    allowed = laid[~stretched]
    alike = _centred(allowed) @ _centred(wanted).T
    best = alike.argmax(axis=0)
    apart = np.sqrt(np.square(allowed[best] - wanted).mean(axis=1))
    return [bool(each) for each in (alike[best, np.arange(len(wanted))] >= ALIKE) & (apart <= FURTHEST)]


def _brought(part: Levels) -> Levels:
    whole_window = _windows()[0][0]
    return np.einsum("rp,pqc,sq->rsc", whole_window, part, whole_window, optimize=True)


def _centred(levels: Levels) -> Levels:
    """Without its mean, and of length 1: the product of two is their correlation."""
    centred = levels - levels.mean(axis=-1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-6)


@lru_cache
def _windows() -> tuple[Levels, NDArray[np.bool_]]:
    """For each window of a side, what brings it to FITTED pixels; and which pairs of windows stretch too much."""
    shares, rows = [], []
    edges = np.arange(SIDE + 1) / SIDE
    for share in SHARES:
        places = np.linspace(0, 1 - share, 1 + min(PLACES, round((1 - share) * SIDE)))
        for start in places:
            cuts = start + share * np.arange(FITTED + 1) / FITTED
            low = np.maximum(edges[None, :-1], cuts[:-1, None])
            high = np.minimum(edges[None, 1:], cuts[1:, None])
            rows.append((high - low).clip(0) / (share / FITTED))
            shares.append(share)
    ratio = np.array(shares)[:, None] / np.array(shares)[None]
    return np.stack(rows).astype(np.float32), np.maximum(ratio, 1 / ratio) > MOST_STRETCHED
