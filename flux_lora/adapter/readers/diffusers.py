"""diffusers: FluxPipeline.load_lora_weights of 0.33 and later (measured with 0.42.1), and of 0.32.

It first decides by a few marks which tool wrote the file, and converts the names; what is then not below
`transformer.` or `text_encoder.` is left, mostly without an error.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from torch import Tensor

from flux_lora.adapter.kinds import Change, Decomposed, Layer
from flux_lora.adapter.readers.architecture import CLIP_NAMES
from flux_lora.adapter.readers.consumed import Consumed, Reader, stopped
from flux_lora.adapter.readers.converted import consume_converted
from flux_lora.adapter.readers.spelling import (
    ALPHA,
    PAIRS,
    PEFT_MAGNITUDE,
    Module,
    alpha_of,
    lora_of,
    modules_of,
)
from flux_lora.adapter.readers.told import METADATA_KEY, TOLD_NOTHING, Told, told_by, without_told_alpha


def consume(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> Consumed:
    """The reading of 0.33 and later."""
    return _consume(tensors, metadata, names, old=False)


def consume_in_032(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> Consumed:
    """The reading of 0.32: no metadata, one rank, alpha in every kohya file."""
    return _consume(tensors, metadata, names, old=True)


def _consume(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str], *, old: bool
) -> Consumed:
    kept = {key: tensor for key, tensor in tensors.items() if "dora_scale" not in key}
    consumed = consume_converted(kept, names, old=old) or _in_peft_names(kept, metadata, names, old=old)
    if len(kept) == len(tensors):
        return consumed
    dropped = tuple(sorted({*consumed.unused, *(set(tensors) - set(kept))}))
    wrong = consumed.wrong or ("leaves DoRA's dora_scale out and applies a plain LoRA" if consumed.changes else "")
    return replace(consumed, unused=dropped, wrong=wrong)


def _in_peft_names(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str], *, old: bool
) -> Consumed:
    if not any("lora" in key for key in tensors):
        return stopped("stops: no key of the file holds the word lora", tensors)
    told = told_by(metadata)
    if METADATA_KEY in metadata and told is None:
        return stopped(f"stops: the metadata's {METADATA_KEY} is not the settings of a LoRA", tensors)
    if told is not None and not old and any(key.endswith(ALPHA) for key in tensors):
        return stopped(f"stops: the file has both alpha keys and {METADATA_KEY}", tensors)
    shown = TOLD_NOTHING if told is None or old else told
    consumed = _paired(tensors, names, shown, old=old)
    if old and consumed.changes and _mixed(consumed.changes):
        return stopped("stops: it takes one rank for all modules, and the file has several", tensors)
    return without_told_alpha(consumed, metadata) if old else consumed


def _paired(tensors: Mapping[str, Tensor], names: Collection[str], told: Told, *, old: bool) -> Consumed:
    known = _places(names, old=old)
    changes: dict[str, Change] = {}
    used: set[str] = set()
    for stem, module in modules_of(tensors).items():
        if stem not in known:
            continue
        alpha = alpha_of(module)
        layer = lora_of(module, "AB", told.alpha(stem) if alpha is None else alpha)
        if layer is None:
            continue
        magnitude = _magnitude(module)
        changes[known[stem]] = layer if magnitude is None else Decomposed(layer, magnitude, per_input=False)
        used |= module.keys((*PAIRS["AB"], ALPHA, PEFT_MAGNITUDE, f"{PEFT_MAGNITUDE}.weight"))
    return Consumed(changes=changes, unused=tuple(sorted(set(tensors) - used)))


def _places(names: Collection[str], *, old: bool) -> dict[str, str]:
    """transformers 5 calls CLIP's modules encoder.layers..., and renames the older names while loading."""
    clip = {f"text_encoder.{name}": f"text_encoder.{name}" for name in CLIP_NAMES}
    newer = {} if old else {name.replace(".text_model.", "."): name for name in clip}
    return {f"transformer.{name}": name for name in names} | clip | newer


def _magnitude(module: Module) -> Tensor | None:
    found = (module.tensors.get(PEFT_MAGNITUDE), module.tensors.get(f"{PEFT_MAGNITUDE}.weight"))
    return next((tensor.flatten() for tensor in found if tensor is not None), None)


def _mixed(changes: Mapping[str, Change]) -> bool:
    layers = (change.layer if isinstance(change, Decomposed) else change for change in changes.values())
    return len({layer.rank for layer in layers if isinstance(layer, Layer)}) > 1


DIFFUSERS = Reader("diffusers", "FluxPipeline.load_lora_weights, measured with 0.42.1", consume)
DIFFUSERS_032 = Reader("diffusers 0.32", "the same in 0.32.1, still pinned by many", consume_in_032)
