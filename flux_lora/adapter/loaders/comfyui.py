"""ComfyUI (0.3.64, a125cd84) and Forge (its loader of late 2024, read).

ComfyUI's own loader and arithmetic were run on every spelling of the tests and every dialect that is
written here: same unused keys, same deltas on every weight.

Both have one table from module names in files to weights of BFL's model, with rows and a swap of halves for
diffusers' names, and look every known name up in the file. An unused key is a line in the log.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from flux_lora.adapter.layer_types import OFT, DoRA, LayerDelta, LoRA
from flux_lora.adapter.loaders.keys import (
    ALPHA,
    DORA_SCALE,
    LOHA_ENDINGS,
    LOKR_ENDINGS,
    OFT_ENDINGS,
    PAIRS,
    PEFT_MAGNITUDE,
    Module,
    alpha_of,
    loha_of,
    lokr_of,
    lora_of,
    modules_of,
    oft_of,
    unfuse,
)
from flux_lora.adapter.loaders.result import Loader, LoadResult, stopped, without_metadata_alpha
from flux_lora.models.flux1.layers import CLIP_NAMES, T5_NAMES, FusedWeight, fused_weights

ORDER = ("down up", "AB", "lora.down up", "AB bare", "linear_layer", "AB default", "processor")
"""Spellings of keys.PAIRS; it takes the first that a module has."""
XLABS_MARKS = ("single_blocks.37.processor.qkv_lora.up.weight", "double_blocks.18.processor.qkv_lora2.up.weight")
"""With both of these keys it takes an XLabs file for USO's, which it reads."""
XLABS_PARTS = {
    "qkv_lora1": "img_attn.qkv",
    "qkv_lora2": "txt_attn.qkv",
    "proj_lora1": "img_attn.proj",
    "proj_lora2": "txt_attn.proj",
    "qkv_lora": "linear1",
    "proj_lora": "linear2",
}
CLIP_PREFIXES = ("lora_te_", "lora_te1_")
T5_PREFIXES = ("lora_te2_", "lora_te3_")


@dataclass(frozen=True)
class _ModuleResult:
    """What it does with one module of the file."""

    delta: LayerDelta | None
    keys: set[str]
    """Those that it uses."""
    wrong: str = ""


def comfyui_module_names(names: Collection[str]) -> dict[str, FusedWeight]:
    """The weight that each module name in a file means to ComfyUI, for a transformer with these diffusers layers."""
    known = {}
    for bfl, weight in fused_weights(names).items():
        known[f"diffusion_model.{bfl}"] = weight
        known[f"lora_unet_{bfl.replace('.', '_')}"] = weight
    for name in names:
        flat = name.replace(".", "_")
        known |= dict.fromkeys(
            (f"transformer.{name}", f"lycoris_{flat}", f"lora_transformer_{flat}"), FusedWeight((name,))
        )
    return known | dict(_text_encoder_names())


def _text_encoder_names() -> Iterator[tuple[str, FusedWeight]]:
    for name in CLIP_NAMES:
        weight = FusedWeight((f"text_encoder.{name}",))
        yield f"text_encoder.{name}", weight
        yield f"text_encoders.clip_l.transformer.{name}", weight
        yield from ((f"{prefix}{name.replace('.', '_')}", weight) for prefix in CLIP_PREFIXES)
    for name in T5_NAMES:
        weight = FusedWeight((f"text_encoder_2.{name}",))
        yield f"text_encoders.t5xxl.transformer.{name}", weight
        yield from ((f"{prefix}{name.replace('.', '_')}", weight) for prefix in T5_PREFIXES)


def load_in_comfyui(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> LoadResult:
    """What ComfyUI does with a file."""
    known = comfyui_module_names(names)
    if all(mark in tensors for mark in XLABS_MARKS):
        known |= _xlabs_names(names)
    return without_metadata_alpha(_applied(tensors, known), metadata)


def load_in_forge(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> LoadResult:
    """What Forge does with a file: ComfyUI's rules without USO's."""
    return without_metadata_alpha(_applied(tensors, comfyui_module_names(names)), metadata)


def _xlabs_names(names: Collection[str]) -> dict[str, FusedWeight]:
    known = {}
    for bfl, weight in fused_weights(names).items():
        block, number, part = bfl.split(".", 2) if "blocks." in bfl else ("", "", "")
        for xlabs, bfl_part in XLABS_PARTS.items():
            if part == bfl_part:
                parts = weight.parts[:3]
                known[f"{block}.{number}.processor.{xlabs}"] = FusedWeight(parts, fused=weight.fused)
    return known


def _applied(tensors: Mapping[str, Tensor], known: Mapping[str, FusedWeight]) -> LoadResult:
    deltas: dict[str, LayerDelta] = {}
    used: set[str] = set()
    wrong = ""
    for stem, module in modules_of(tensors).items():
        if stem not in known:
            continue
        lone_up = _lone_up(module)
        if lone_up:
            return stopped(f"stops at {lone_up}, whose other half is not in the file", tensors)
        partial = _module_result(module)
        unfused = {} if partial.delta is None else unfuse(partial.delta, known[stem])
        if partial.delta is None or unfused:
            deltas |= unfused
            used |= partial.keys
        wrong = wrong or partial.wrong
    return LoadResult(deltas=deltas, unused=tuple(sorted(set(tensors) - used)), wrong=wrong)


def _lone_up(module: Module) -> str:
    """The key of an `up` whose `down` is not in the file; empty if there is none."""
    pair = next((PAIRS[spelling] for spelling in ORDER if module.has(PAIRS[spelling][1])), None)
    return f"{module.stem}{pair[1]}" if pair and not module.has(pair[0]) else ""


def _module_result(module: Module) -> _ModuleResult:
    """It tries every layer type in turn, and a later one overwrites an earlier."""
    alpha = alpha_of(module)
    partial = _ModuleResult(None, module.keys([ALPHA, DORA_SCALE]))
    for pair in ORDER:
        layer = lora_of(module, pair, alpha)
        if layer is not None:
            partial = _ModuleResult(layer, partial.keys | module.keys(PAIRS[pair]))
            break
    others = (
        (loha_of(module, alpha), LOHA_ENDINGS),
        (lokr_of(module, alpha), LOKR_ENDINGS),
        (oft_of(module, alpha), OFT_ENDINGS),
    )
    for delta, endings in others:
        if delta is not None:
            partial = _ModuleResult(delta, partial.keys | module.keys(endings))
    return _with_magnitude(module, partial)


def _with_magnitude(module: Module, partial: _ModuleResult) -> _ModuleResult:
    if partial.delta is None:
        return partial
    if isinstance(partial.delta, OFT) and partial.delta.rescale is not None:
        return _ModuleResult(partial.delta, partial.keys, "reads OFT's rescale and does not apply it")
    if module.has(PEFT_MAGNITUDE) or module.has(f"{PEFT_MAGNITUDE}.weight") or module.has(".magnitude"):
        return _ModuleResult(partial.delta, partial.keys, "leaves DoRA's magnitudes out and applies a plain LoRA")
    scale = module.tensors.get(DORA_SCALE)
    if scale is None:
        return partial
    per_input = scale.ndim == 2 and scale.shape[0] == 1
    wrong = "" if per_input else "divides DoRA's magnitudes per output by the wrong norm (ComfyUI PR 15458)"
    layer = partial.delta
    delta = DoRA(layer, scale.flatten(), per_input) if isinstance(layer, LoRA) else layer
    return _ModuleResult(delta, partial.keys, wrong)


COMFYUI = Loader("ComfyUI", "LoraLoader and LoraLoaderModelOnly, measured with 0.3.64", load_in_comfyui)
FORGE = Loader("Forge", "stable-diffusion-webui-forge; from its source, not run", load_in_forge)
