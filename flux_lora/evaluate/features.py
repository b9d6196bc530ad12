"""Features of the places of an image: what likeness, copying and diversity are measured on.

An image becomes GRID x GRID tokens. Colours are always among them and need no model; a vision model (DINOv2, CLIP,
SigLIP: any of transformers' with patches) is put beside them, so that shape and texture count too. Each kind is of
unit length, centred on what the base draws, and weighs the same.

Shape letters: N images, T tokens (GRID * GRID), D features of all kinds together.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize
from transformers import AutoModel, CLIPModel, SiglipModel

from flux_lora.errors import ModelError
from flux_lora.models.device import visiting
from flux_lora.models.mini import MINI, mini_folder

GRID = 32
"""Tokens a side."""
CELL = 4
"""Pixels a side of a token's colours."""
BATCH_SIZE = 16
"""Images per forward pass."""
SOFTNESS = 30.0
"""CIELAB distance at which two colours are alike to 0.6 (Gaussian kernel)."""
FREQUENCIES = 48
"""Random Fourier features of each colour."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
NORMALISATION = {
    CLIPModel: ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    SiglipModel: ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
"""Mean and standard deviation of RGB that a model was trained with; IMAGENET's for any other, DINOv2 among them."""

TokensOf = Callable[[Sequence[Image.Image]], Tensor]
"""images -> tokens NTD of one kind"""


@dataclass(frozen=True)
class Places:
    """The places of some images."""

    tokens: Tensor  # NTD of unit length: the product of two is the mean of their cosines, kind by kind
    aspects: tuple[float, ...]
    """Width / height of each image."""

    def __len__(self) -> int:
        return len(self.aspects)

    def __iter__(self) -> Iterator[tuple[Tensor, float]]:
        return zip(self.tokens, self.aspects, strict=True)

    def __getitem__(self, wanted: slice) -> "Places":
        return Places(self.tokens[wanted], self.aspects[wanted])

    def one(self, number: int) -> tuple[Tensor, float]:
        """One image's."""
        return self.tokens[number], self.aspects[number]

    def without(self, number: int) -> "Places":
        """All images but one."""
        others = [each for each in range(len(self)) if each != number]
        return Places(self.tokens[others], tuple(self.aspects[each] for each in others))


@dataclass(frozen=True)
class PlaceFeatures:
    """Tokens of images, kind by kind, centred and scaled on the base's own images."""

    kinds: tuple[TokensOf, ...]
    centres: tuple[Tensor, ...]  # D of each kind
    scales: tuple[Tensor, ...]  # D of each kind

    def __call__(self, images: Sequence[Image.Image]) -> Places:
        """Their places."""
        parts = [
            normalize((kind(images) - centre) / scale, dim=-1)
            for kind, centre, scale in zip(self.kinds, self.centres, self.scales, strict=True)
        ]
        tokens_NTD = torch.cat(parts, dim=-1) / len(parts) ** 0.5
        return Places(tokens_NTD, tuple(image.width / image.height for image in images))


def centred_on(images: Sequence[Image.Image], kinds: Sequence[TokensOf]) -> PlaceFeatures:
    """Features in which what these images have on average is nothing."""
    found = [kind(images).flatten(0, 1) for kind in kinds]
    return PlaceFeatures(
        tuple(kinds), tuple(each.mean(0) for each in found), tuple(each.std(0).clamp_min(1e-6) for each in found)
    )


def colour_tokens(images: Sequence[Image.Image]) -> Tensor:
    """The mean colour of each place: NT x FREQUENCIES.

    The cosine of two is about exp(-(d / SOFTNESS)^2 / 2) with their CIELAB distance d: random features of a Gaussian
    kernel (Rahimi and Recht, "Random Features for Large-Scale Kernel Machines", 2007). So colours are near or far,
    where a cosine of colours as they are takes dark red for light red.
    """
    return torch.stack([_colours(image) for image in images])


def load_place_model(path: str | Path, device: torch.device | None = None) -> TokensOf:
    """The last layer's patches of a vision model, from a folder or the hub; "mini" is the embedded CLIP's eye.

    Raises ModelError where it cannot be had.
    """
    folder = mini_folder() / "scorer" if path == MINI else path
    try:
        loaded = AutoModel.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise _no_place_model(path, error) from error
    with_text = isinstance(loaded, CLIPModel | SiglipModel)
    model = cast(nn.Module, loaded.vision_model if with_text else loaded)
    model.requires_grad_(False).eval()
    place = device or torch.device("cpu")
    config = cast(Any, loaded.config.vision_config if with_text else loaded.config)
    mean, std = next((known for kind, known in NORMALISATION.items() if isinstance(loaded, kind)), IMAGENET)
    side = GRID * config.patch_size if config.model_type.startswith("dinov2") else config.image_size

    def tokens(images: Sequence[Image.Image]) -> Tensor:
        parts = [images[first : first + BATCH_SIZE] for first in range(0, len(images), BATCH_SIZE)]
        with visiting(model, place):
            return torch.cat([_patches(model, _pixels(part, side, mean, std)) for part in parts])

    try:
        tokens([Image.new("RGB", (GRID, GRID))])
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise _no_place_model(path, error) from error
    return tokens


def _no_place_model(path: str | Path, error: Exception) -> ModelError:
    return ModelError(
        f"{path} holds no vision model to measure likeness with ({str(error).splitlines()[0]})",
        fix="set model.likeness to a folder or hub id such as facebook/dinov2-base, or to none",
    )


@torch.no_grad()
def _patches(model: nn.Module, pixels_B3HW: Tensor) -> Tensor:
    """NTD on the CPU, resampled to GRID x GRID. What stands before the patches (class token, registers) is left out."""
    device = next(model.parameters()).device
    hidden = model(pixel_values=pixels_B3HW.to(device)).last_hidden_state.float().cpu()
    side = int(hidden.shape[1] ** 0.5)
    grid = hidden[:, hidden.shape[1] - side * side :].transpose(1, 2).unflatten(2, (side, side))
    if side != GRID:
        grid = interpolate(grid, size=(GRID, GRID), mode="bilinear", align_corners=False)
    return grid.flatten(2).transpose(1, 2)


def _pixels(images: Sequence[Image.Image], side: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """B3HW, normalised. The whole image is squeezed into the square: nothing is cropped away."""
    squares = [np.asarray(image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)) for image in images]
    pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def _colours(image: Image.Image) -> Tensor:
    """T x FREQUENCIES."""
    waves, phases = _frequencies()
    return torch.from_numpy(np.cos(colours_of(image) @ waves + phases)).float()


def colours_of(image: Image.Image) -> np.ndarray:
    """The mean colour of each place, in CIELAB: T3."""
    square = image.convert("RGB").resize((GRID * CELL, GRID * CELL), Image.Resampling.BOX)
    cells = lab(np.asarray(square, np.float64) / 255).reshape(GRID, CELL, GRID, CELL, 3)
    return cells.mean((1, 3)).reshape(GRID * GRID, 3)


@cache
def _frequencies() -> tuple[np.ndarray, np.ndarray]:
    """Waves 3 x FREQUENCIES and phases: the same ones always."""
    random = np.random.default_rng(0)
    return random.normal(size=(3, FREQUENCIES)) / SOFTNESS, random.uniform(0, 2 * np.pi, FREQUENCIES)


def lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB in [0, 1] (..., 3) -> CIELAB under D65 (CIE 15)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)
