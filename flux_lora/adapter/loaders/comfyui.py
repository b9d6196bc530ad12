"""ComfyUI (0.3.64, a125cd84; FLUX.2's names as its source of 2026 has them, read) and Forge (its loader of late 2024,
read).

ComfyUI's own loader and arithmetic were run on every spelling of the tests and every dialect that is
written here: same unused keys, same deltas on every weight. GLoRA, BOFT and whole weights were read, not run.

Both have one table from module names in files to weights of BFL's model, with rows and a swap of halves for
diffusers' names, and look every known name up in the file. An unused key is a line in the log.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from flux_lora.adapter.layer_types import OFT, DoRA, LayerDelta, LoRA
from flux_lora.adapter.loaders.keys import (
    ALPHA,
    BIAS,
    DORA_SCALE,
    GLORA_ENDINGS,
    LOHA_ENDINGS,
    LOKR_ENDINGS,
    OFT_ENDINGS,
    PAIRS,
    PEFT_MAGNITUDE,
    WHOLE,
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
from flux_lora.models.flux1.layers import CLIP_NAMES, T5_NAMES, fused_weights
from flux_lora.models.flux2 import layers as flux2
from flux_lora.models.fused_weight import FusedWeight


@dataclass(frozen=True)
class _Rules:
    """What one of the two programs knows."""

    spellings: tuple[str, ...]
    """Of keys.PAIRS; it takes the first that a module has."""
    oft: bool
    """Whether it knows OFT, and BOFT."""


RULES = _Rules(("down up", "AB", "lora.down up", "AB bare", "linear_layer", "AB default", "processor"), oft=True)
FORGE_RULES = _Rules(("down up", "processor", "AB", "lora.down up", "linear_layer"), oft=False)
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
NO_DIFFUSERS_NAME = rf"time_guidance_embed\..+|{flux2.MODULATION}"
"""Layers of FLUX.2 that it knows by BFL's names alone."""
CLIP_PREFIXES = ("lora_te_", "lora_te1_")
T5_PREFIXES = ("lora_te2_", "lora_te3_")


@dataclass(frozen=True)
class _ModuleResult:
    """What it does with one module of the file."""

    delta: LayerDelta | None
    keys: set[str]
    """Those that it uses."""
    wrong: str = ""
    other: bool = False
    """Whether it changes the module in a way that no LayerDelta describes."""


def comfyui_module_names(names: Collection[str]) -> dict[str, FusedWeight]:
    """The weight that each module name in a file means to ComfyUI, for a transformer with these diffusers layers."""
    known = {}
    weights = flux2.fused_weights(names) if flux2.has_flux2_layers(names) else fused_weights(names)
    for bfl, weight in weights.items():
        known[f"diffusion_model.{bfl}"] = weight
        known[f"lora_unet_{bfl.replace('.', '_')}"] = weight
    for name in names:
        if re.fullmatch(NO_DIFFUSERS_NAME, name):
            continue
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
    return without_metadata_alpha(_applied(tensors, known, RULES), metadata)


def load_in_forge(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> LoadResult:
    """What Forge does with a file: ComfyUI's rules without USO's, OFT and peft's own spellings."""
    return without_metadata_alpha(_applied(tensors, comfyui_module_names(names), FORGE_RULES), metadata)


def _xlabs_names(names: Collection[str]) -> dict[str, FusedWeight]:
    known = {}
    for bfl, weight in fused_weights(names).items():
        block, number, part = bfl.split(".", 2) if "blocks." in bfl else ("", "", "")
        for xlabs, bfl_part in XLABS_PARTS.items():
            if part == bfl_part:
                parts = weight.parts[:3]
                known[f"{block}.{number}.processor.{xlabs}"] = FusedWeight(parts, fused=weight.fused)
    return known


def _applied(tensors: Mapping[str, Tensor], known: Mapping[str, FusedWeight], rules: _Rules) -> LoadResult:
    deltas: dict[str, LayerDelta] = {}
    used: set[str] = set()
    others: set[str] = set()
    wrong = ""
    for stem, module in modules_of(tensors).items():
        if stem not in known:
            continue
        lone_up = _lone_up(module, rules)
        if lone_up:
            return stopped(f"stops at {lone_up}, whose other half is not in the file", tensors)
        partial = _module_result(module, rules)
        others |= {stem} if partial.other else set()
        unfused = {} if partial.delta is None else unfuse(partial.delta, known[stem])
        if partial.delta is None or unfused:
            deltas |= unfused
            used |= partial.keys
        wrong = wrong or partial.wrong
    return LoadResult(deltas, frozenset(others), unused=tuple(sorted(set(tensors) - used)), wrong=wrong)


def _lone_up(module: Module, rules: _Rules) -> str:
    """The key of an `up` whose `down` is not in the file, or of one of GLoRA's; empty if there is none."""
    pair = next((PAIRS[spelling] for spelling in rules.spellings if module.has(PAIRS[spelling][1])), None)
    if pair and not module.has(pair[0]):
        return f"{module.stem}{pair[1]}"
    torn = module.has(GLORA_ENDINGS[0]) and not module.has(*GLORA_ENDINGS)
    return f"{module.stem}{GLORA_ENDINGS[0]}" if torn else ""


def _module_result(module: Module, rules: _Rules) -> _ModuleResult:
    """It tries every layer type in turn, and a later one overwrites an earlier."""
    alpha = alpha_of(module)
    partial = _ModuleResult(None, module.keys([ALPHA, DORA_SCALE]))
    for pair in rules.spellings:
        layer = lora_of(module, pair, alpha)
        if layer is not None:
            partial = _ModuleResult(layer, partial.keys | module.keys(PAIRS[pair]))
            break
    others = (
        (loha_of(module, alpha), LOHA_ENDINGS),
        (lokr_of(module, alpha), LOKR_ENDINGS),
        (oft_of(module, alpha) if rules.oft else None, OFT_ENDINGS),
    )
    for delta, endings in others:
        if delta is not None:
            partial = _ModuleResult(delta, partial.keys | module.keys(endings))
    partial = _with_magnitude(module, partial)
    undescribed = _undescribed(module, rules)
    if not undescribed:
        return partial
    beside = partial.delta if undescribed == module.keys([BIAS]) else None
    return replace(partial, delta=beside, keys=partial.keys | undescribed, other=True)


def _undescribed(module: Module, rules: _Rules) -> set[str]:
    """The keys of a GLoRA, a BOFT (blocks of four dimensions), or the change of a whole weight or bias."""
    keys = module.keys((*GLORA_ENDINGS, WHOLE, BIAS))
    blocks = module.tensors.get(OFT_ENDINGS[0])
    if rules.oft and blocks is not None and blocks.ndim == 4:
        keys |= module.keys(OFT_ENDINGS)
    return keys


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


COMFYUI = Loader(
    "ComfyUI",
    "LoraLoader and LoraLoaderModelOnly, measured with 0.3.64",
    load_in_comfyui,
    flux2=True,
    without_flux3="was not tried with FLUX.3",
    without_text_encoders="LoraLoaderModelOnly leaves them out",
)
FORGE = Loader("Forge", "stable-diffusion-webui-forge; from its source, not run", load_in_forge)
