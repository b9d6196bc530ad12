"""diffusers: Flux3ModularPipeline.load_lora_weights, measured with 0.42.1. It has no text encoder to change.

One key behind ComfyUI's prefix, and all are taken for BFL's names, of which it renames those of blocks; what it has no
layer for is left out with a warning, and stops it only where nothing else is there. It knows no alpha but that of the
metadata: with alpha keys it stops.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from torch import Tensor

from flux_lora.adapter.layer_types import LayerDelta
from flux_lora.adapter.loaders.keys import PAIRS, lora_of, modules_of
from flux_lora.adapter.loaders.result import (
    METADATA_KEY,
    NO_METADATA_ALPHA,
    LoadResult,
    metadata_alpha,
    stopped,
    without_dora,
)
from flux_lora.models.flux3.layers import bfl_weights

BFL, OWN = "diffusion_model.", "transformer."


def load_flux3(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> LoadResult:
    """What it does with a file, on a transformer with these linear layers."""
    return without_dora(tensors, lambda kept: _loaded(kept, metadata, names))


def _loaded(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> LoadResult:
    foreign = sorted(key for key in tensors if "lora" not in key)
    if foreign:
        return stopped(f"stops: {foreign[0]} is no key of a LoRA to it", tensors)
    alphas = metadata_alpha(metadata)
    if METADATA_KEY in metadata and alphas is None:
        return stopped(f"stops: the metadata's {METADATA_KEY} is not the settings of a LoRA", tensors)
    converts = any(key.startswith(BFL) for key in tensors)
    known = _converted_names(names) if converts else {f"{OWN}{name}": name for name in names}
    told = alphas or NO_METADATA_ALPHA
    deltas: dict[str, LayerDelta] = {}
    used: set[str] = set()
    for stem, module in modules_of(tensors).items():
        layer = lora_of(module, "AB", None) if stem in known else None
        if layer is not None:
            alpha = told.alpha(known[stem], layer.rank)
            deltas[known[stem]] = layer if alpha is None else replace(layer, alpha=alpha)
            used |= module.keys(PAIRS["AB"])
    if not deltas and any(converts or key.startswith(OWN) for key in tensors):
        return stopped("stops: it has none of these layers, or none in this spelling", tensors)
    return LoadResult(deltas=deltas, unused=tuple(sorted(set(tensors) - used)))


def _converted_names(names: Collection[str]) -> dict[str, str]:
    """Names in a file -> our names: BFL's of blocks, and any of diffusers' behind the prefix."""
    blocks = {f"{BFL}{bfl}": weight.parts[0] for bfl, weight in bfl_weights(names).items() if "blocks." in bfl}
    return blocks | {f"{BFL}{name}": name for name in names}
