"""diffusers: FluxPipeline.load_lora_weights of 0.33 and later (measured with 0.42.1), and of 0.32.

It first decides by a few marks which tool wrote the file, and converts the names; what is then not below
`transformer.` or `text_encoder.` is left, mostly without an error.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from torch import Tensor

from flux_lora.adapter.kinds import DoRA, LayerDelta, LoRA
from flux_lora.adapter.readers.architecture import CLIP_NAMES
from flux_lora.adapter.readers.consumed import Loader, LoadResult, stopped
from flux_lora.adapter.readers.converted import load_converted
from flux_lora.adapter.readers.spelling import (
    ALPHA,
    PAIRS,
    PEFT_MAGNITUDE,
    Module,
    alpha_of,
    lora_of,
    modules_of,
)
from flux_lora.adapter.readers.told import (
    METADATA_KEY,
    NO_METADATA_ALPHA,
    MetadataAlpha,
    metadata_alpha,
    without_metadata_alpha,
)


def load_in_diffusers(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> LoadResult:
    """The reading of 0.33 and later."""
    return _load(tensors, metadata, names, old=False)


def load_in_diffusers_032(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]
) -> LoadResult:
    """The reading of 0.32: no metadata, one rank, alpha in every kohya file."""
    return _load(tensors, metadata, names, old=True)


def _load(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str], *, old: bool
) -> LoadResult:
    kept = {key: tensor for key, tensor in tensors.items() if "dora_scale" not in key}
    consumed = load_converted(kept, names, old=old) or _in_peft_names(kept, metadata, names, old=old)
    if len(kept) == len(tensors):
        return consumed
    dropped = tuple(sorted({*consumed.unused, *(set(tensors) - set(kept))}))
    wrong = consumed.wrong or ("leaves DoRA's dora_scale out and applies a plain LoRA" if consumed.deltas else "")
    return replace(consumed, unused=dropped, wrong=wrong)


def _in_peft_names(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str], *, old: bool
) -> LoadResult:
    if not any("lora" in key for key in tensors):
        return stopped("stops: no key of the file holds the word lora", tensors)
    told = metadata_alpha(metadata)
    if METADATA_KEY in metadata and told is None:
        return stopped(f"stops: the metadata's {METADATA_KEY} is not the settings of a LoRA", tensors)
    if told is not None and not old and any(key.endswith(ALPHA) for key in tensors):
        return stopped(f"stops: the file has both alpha keys and {METADATA_KEY}", tensors)
    shown = NO_METADATA_ALPHA if told is None or old else told
    consumed = _paired(tensors, names, shown, old=old)
    if old and consumed.deltas and _mixed(consumed.deltas):
        return stopped("stops: it takes one rank for all modules, and the file has several", tensors)
    return without_metadata_alpha(consumed, metadata) if old else consumed


def _paired(tensors: Mapping[str, Tensor], names: Collection[str], alphas: MetadataAlpha, *, old: bool) -> LoadResult:
    known = _places(names, old=old)
    changes: dict[str, LayerDelta] = {}
    used: set[str] = set()
    for stem, module in modules_of(tensors).items():
        if stem not in known:
            continue
        alpha = alpha_of(module)
        layer = lora_of(module, "AB", alphas.alpha(stem) if alpha is None else alpha)
        if layer is None:
            continue
        magnitude = _magnitude(module)
        changes[known[stem]] = layer if magnitude is None else DoRA(layer, magnitude, per_input=False)
        used |= module.keys((*PAIRS["AB"], ALPHA, PEFT_MAGNITUDE, f"{PEFT_MAGNITUDE}.weight"))
    return LoadResult(deltas=changes, unused=tuple(sorted(set(tensors) - used)))


def _places(names: Collection[str], *, old: bool) -> dict[str, str]:
    """transformers 5 calls CLIP's modules encoder.layers..., and renames the older names while loading."""
    clip = {f"text_encoder.{name}": f"text_encoder.{name}" for name in CLIP_NAMES}
    newer = {} if old else {name.replace(".text_model.", "."): name for name in clip}
    return {f"transformer.{name}": name for name in names} | clip | newer


def _magnitude(module: Module) -> Tensor | None:
    found = (module.tensors.get(PEFT_MAGNITUDE), module.tensors.get(f"{PEFT_MAGNITUDE}.weight"))
    return next((tensor.flatten() for tensor in found if tensor is not None), None)


def _mixed(changes: Mapping[str, LayerDelta]) -> bool:
    layers = (change.lora if isinstance(change, DoRA) else change for change in changes.values())
    return len({layer.rank for layer in layers if isinstance(layer, LoRA)}) > 1


DIFFUSERS = Loader("diffusers", "FluxPipeline.load_lora_weights, measured with 0.42.1", load_in_diffusers)
DIFFUSERS_032 = Loader("diffusers 0.32", "the same in 0.32.1, still pinned by many", load_in_diffusers_032)
