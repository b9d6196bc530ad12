"""The layout that diffusers and ComfyUI both read: transformer.<module>.lora_A.weight / lora_B.weight."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from flux_lora.adapter.tensors import Adapter, Layer, folded
from flux_lora.errors import AdapterFileError

PREFIX = "transformer."
DOWN = ".lora_A.weight"
UP = ".lora_B.weight"
KEY = re.compile(r"transformer\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")


def to_diffusers(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """The adapter in this layout, with the scale folded into `up`.

    diffusers would take alpha from the metadata, ComfyUI takes it from .alpha tensors and
    uses 1 without them. Folded, both see the same change.
    """
    tensors = {}
    for name, layer in folded(adapter).layers.items():
        tensors[f"{PREFIX}{name}{DOWN}"] = layer.down.to(dtype).contiguous()
        tensors[f"{PREFIX}{name}{UP}"] = layer.up.to(dtype).contiguous()
    return tensors


def from_diffusers(tensors: Mapping[str, Tensor]) -> Adapter:
    """The adapter of a file in this layout. A key that is not understood is an error: dropping it would
    give another adapter than the one in the file."""
    matches = {key: KEY.fullmatch(key) for key in tensors}
    _refuse("keys of another layout", sorted(key for key, match in matches.items() if match is None))
    names = sorted({match["module"] for match in matches.values() if match is not None})
    sides = [f"{PREFIX}{name}{side}" for name in names for side in (DOWN, UP)]
    _refuse("one-sided layers, without", [key for key in sides if key not in tensors])
    layers = {name: _layer(tensors[f"{PREFIX}{name}{DOWN}"], tensors[f"{PREFIX}{name}{UP}"]) for name in names}
    _refuse("layers of impossible shape,", sorted(name for name, layer in layers.items() if not _fits(layer)))
    return Adapter(layers)


def _layer(down: Tensor, up: Tensor) -> Layer:
    return Layer(down=down, up=up, alpha=float(down.shape[0]) if down.ndim else 0.0)


def _fits(layer: Layer) -> bool:
    return layer.down.ndim == layer.up.ndim == 2 and layer.rank == layer.up.shape[1] > 0


def _refuse(what: str, keys: list[str]) -> None:
    if keys:
        raise AdapterFileError(
            f"the file holds {what} {keys[0]!r} ({len(keys)} in all)",
            fix="give a LoRA for FLUX.1 in the diffusers layout: transformer.<module>.lora_A.weight and lora_B.weight",
        )
