"""Whether an image shows a subject, found by laying its parts over the image at every place and size.

Nothing is trained: a part is there where most pixels under its outline have its colour. Strict asks for all parts at
one place, mild for most of them. The bounds were set on drawn and VAE-softened scenes of the subjects that are tuned
on; `python -m benchmarks.subjects` prints how often it is right, on those and on the others.

Shape letters: P parts, H W pixels of an image, K pixels of a mask's side, Y X places.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d, pad

from benchmarks.subjects.subject import Part, draw_parts
from flux_lora.evaluate.features import lab
from scripts.mini.things import OVERSAMPLING, Layer

HALVES = tuple(8.0 * 1.09**step for step in range(12))
"""Half the subject's height, in pixels of the image at half its size: 8 to 21."""
FINER = (0.955, 1.0, 1.045)
FARTHEST, FARTHEST_DETAIL = 30.0, 40.0
"""CIELAB: how far a pixel's colour may be from its part's; small parts lose more of theirs in the base's VAE."""
DETAIL = 0.12
"""Largest area of a detail, as a share of the subject's body."""
COVERED = 0.5
"""Share of a part's pixels that must have its colour."""
MOST = 0.6
"""Share of the parts, by name, that a mild look asks for."""
TRIED = 4
"""Places of the coarse look that are looked at closely."""


@dataclass(frozen=True)
class Verdict:
    """What was found of the subject."""

    strict: bool
    mild: bool
    share: float
    """Of its parts, by name, at the best place."""


def judge_image(image: Image.Image, parts: Sequence[Part]) -> Verdict:
    """Look for the subject in the image, coarsely everywhere and then closely where most of it is."""
    parts, image = tuple(parts), image.convert("RGB")
    coarse = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    near = _near(coarse, parts)
    found: list[tuple[float, float, int, int]] = []
    for half in HALVES:
        masks, weights = _masks(parts, half)
        cover = _cover(near, masks)
        total = (cover * weights[:, None, None]).sum(0)
        top = int(total.argmax())
        found.append((float(total.max()), half, top // total.shape[1], top % total.shape[1]))
    near = _near(image, parts)
    places = sorted(found, reverse=True)[:TRIED]
    best = max(_share(near, parts, 2 * half * finer, 2 * y, 2 * x) for _, half, y, x in places for finer in FINER)
    return Verdict(strict=best >= 1 - 1e-6, mild=best >= MOST - 1e-6, share=best)


def _near(image: Image.Image, parts: tuple[Part, ...]) -> Tensor:
    """1 where a pixel has a part's colour: PHW."""
    pixels = lab(np.asarray(image, np.float64) / 255)
    colours = lab(np.array([part.colour for part in parts]) / 255)
    distances = np.linalg.norm(pixels[None] - colours[:, None, None], axis=-1)
    farthest = [FARTHEST_DETAIL if _area(part) < DETAIL * _body_area(parts) else FARTHEST for part in parts]
    return torch.from_numpy(distances <= np.array(farthest)[:, None, None]).float()


def _area(part: Part) -> float:
    left, top, right, bottom = part.corners
    return (right - left) * (bottom - top)


def _body_area(parts: Sequence[Part]) -> float:
    return max(_area(part) for part in parts if part.name == "body")


def _cover(near: Tensor, masks: Tensor) -> Tensor:
    """Share of each part that has its colour, with the subject's middle at each pixel: PHW."""
    side = masks.shape[-1]
    return conv2d(pad(near, (side // 2,) * 4)[None], masks, groups=len(masks))[0]


def _share(near: Tensor, parts: tuple[Part, ...], half: float, y: int, x: int) -> float:
    """The largest share of part names that are there within 2 pixels of a place."""
    masks, _ = _masks(parts, round(half, 1))
    reach = masks.shape[-1] // 2 + 2
    window = pad(near, (reach,) * 4)[:, y : y + 2 * reach + 1, x : x + 2 * reach + 1]
    there = conv2d(window[None], masks, groups=len(masks))[0] >= COVERED  # PYX
    names = [part.name for part in parts]
    whole = {name: there[[i for i, each in enumerate(names) if each == name]].all(0) for name in names}
    return float((torch.stack(list(whole.values())).float().mean(0) * whole["body"]).max())


@lru_cache(maxsize=4096)
def _masks(parts: tuple[Part, ...], half: float) -> tuple[Tensor, Tensor]:
    """What is seen of each part, edges left out, each summing to 1: P1KK; and the part's share of the subject: P."""
    side = 2 * int(np.ceil(half * 1.2)) + 1
    canvas = Image.new("RGB", (side * OVERSAMPLING, side * OVERSAMPLING))
    layer = Layer(canvas, (side / 2, side / 2), half)
    draw_parts(layer, [Part(part.name, part.form, part.corners, (40 + n, 0, 0)) for n, part in enumerate(parts)])
    layer.paste()
    numbers = np.asarray(canvas)[..., 0]
    covers = [
        (numbers == 40 + number).reshape(side, OVERSAMPLING, side, OVERSAMPLING).mean((1, 3))
        for number in range(len(parts))
    ]
    masks = torch.stack([torch.from_numpy(_core(cover)).float() for cover in covers])
    areas = torch.tensor([float(cover.sum()) for cover in covers]).sqrt()
    return (masks / masks.sum((1, 2), keepdim=True).clamp_min(1e-6))[:, None], areas / areas.sum()


def _core(cover: np.ndarray) -> np.ndarray:
    """A part without its edge; a small one whole."""
    full = cover >= 0.99
    padded = np.pad(full, 1)
    inner = full & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return next((each for each in (inner, full, cover > 0.5) if each.sum() >= 6), cover > 0.2).astype(float)
