"""diffusers: Flux2KleinPipeline.load_lora_weights, measured with 0.42.1. It has no text encoder to change.

It knows no alpha but kohya's and that of the metadata: with alpha keys beside other names it stops.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from torch import Tensor

from flux_lora.adapter.layer_types import LayerDelta, LoRA
from flux_lora.adapter.loaders.keys import ALPHA, PAIRS, alpha_of, lora_of, modules_of, unfuse
from flux_lora.adapter.loaders.result import (
    METADATA_KEY,
    NO_METADATA_ALPHA,
    LoadResult,
    metadata_alpha,
    stopped,
    without_dora,
)
from flux_lora.models.flux2.layers import fused_weights
from flux_lora.models.fused_weight import FusedWeight

KOHYA, BFL, FAL, OWN = "lora_unet_", "diffusion_model.", "base_model.model.", "transformer."
OUTSIDE = ("img_in", "txt_in", "time_in.in_layer", "time_in.out_layer", "final_layer.linear")
"""What is outside of the blocks and has a place in its conversion of kohya's names."""
LOKR = (OWN, BFL, "lycoris_")
"""What names of a LoKr begin with that it converts."""


def load_flux2(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> LoadResult:
    """What it does with a file, on a transformer with these linear layers."""
    return without_dora(tensors, lambda kept: _loaded(kept, metadata, names))


def _loaded(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> LoadResult:
    if any(PAIRS["down up"][0] in key for key in tensors):
        weights = {bfl: weight for bfl, weight in fused_weights(names).items() if "blocks." in bfl or bfl in OUTSIDE}
        known = {f"{KOHYA}{bfl.replace('.', '_')}": weight for bfl, weight in weights.items()}
        return _read(tensors, known, "down up", scaled=True)
    if any(".lokr_" in key for key in tensors):
        others = frozenset(stem for stem in modules_of(tensors) if stem.startswith(LOKR))
        return LoadResult(others=others, unused=tuple(sorted(key for key in tensors if not key.startswith(LOKR))))
    if any(key.startswith((BFL, FAL)) for key in tensors):
        return _bfl_names(tensors, names)
    return _own_names(tensors, metadata, names)


def _bfl_names(tensors: Mapping[str, Tensor], names: Collection[str]) -> LoadResult:
    """Every key has to be converted; the halves of the last modulation are not put in diffusers' order."""
    weights = {bfl: FusedWeight(weight.parts, fused=bfl) for bfl, weight in fused_weights(names).items()}
    known = {f"{prefix}{bfl}": weight for prefix in (BFL, FAL) for bfl, weight in weights.items()}
    known |= {f"{BFL}{name}": FusedWeight((name,)) for name in names if "blocks." in name}
    result = _read(tensors, known, "AB", scaled=False)
    if result.unused:
        return stopped(f"stops: it cannot convert {result.unused[0]}", tensors)
    if any("final_layer.adaLN_modulation" in key for key in tensors):
        return replace(result, wrong="leaves the halves of the last modulation in BFL's order")
    return result


def _own_names(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> LoadResult:
    foreign = sorted(key for key in tensors if "lora" not in key)
    if foreign:
        return stopped(f"stops: {foreign[0]} is no key of a LoRA to it", tensors)
    alphas = metadata_alpha(metadata)
    if METADATA_KEY in metadata and alphas is None:
        return stopped(f"stops: the metadata's {METADATA_KEY} is not the settings of a LoRA", tensors)
    known = {f"{OWN}{name}": FusedWeight((name,)) for name in names}
    result = _read(tensors, known, "AB", scaled=False)
    told = alphas or NO_METADATA_ALPHA
    layers = {name: delta for name, delta in result.deltas.items() if isinstance(delta, LoRA)}
    said = {name: told.alpha(name, layer.rank) for name, layer in layers.items()}
    return replace(
        result,
        deltas={
            name: layer if (alpha := said[name]) is None else replace(layer, alpha=alpha)
            for name, layer in layers.items()
        },
    )


def _read(
    tensors: Mapping[str, Tensor], known: Mapping[str, FusedWeight], spelling: str, *, scaled: bool
) -> LoadResult:
    deltas: dict[str, LayerDelta] = {}
    used: set[str] = set()
    for stem, module in modules_of(tensors).items():
        layer = lora_of(module, spelling, alpha_of(module) if scaled else None) if stem in known else None
        unfused = {} if layer is None else unfuse(layer, known[stem])
        deltas |= unfused
        used |= module.keys((*PAIRS[spelling], *([ALPHA] if scaled else []))) if unfused else set()
    return LoadResult(deltas=deltas, unused=tuple(sorted(set(tensors) - used)))
