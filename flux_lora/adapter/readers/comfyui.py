"""ComfyUI (0.3.64, a125cd84) and Forge (its loader of late 2024, read).

ComfyUI's own loader and arithmetic were run on every spelling of the tests and every dialect that is
written here: same keys left, same changes to every weight.

Both have one table from names in files to weights of BFL's model, with rows and a swap of halves for
diffusers' names, and look up every known name. A key that is left is a line in the log.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from flux_lora.adapter.kinds import OFT, DoRA, LayerDelta, LoRA
from flux_lora.adapter.readers.architecture import CLIP_NAMES, T5_NAMES, FusedWeight, fused_weights
from flux_lora.adapter.readers.consumed import Loader, LoadResult, stopped
from flux_lora.adapter.readers.landing import unfuse
from flux_lora.adapter.readers.spelling import (
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
)
from flux_lora.adapter.readers.told import without_metadata_alpha

ORDER = ("down up", "AB", "lora.down up", "AB bare", "linear_layer", "AB default", "processor")
"""It takes the first spelling that is there."""
XLABS_MARKS = ("single_blocks.37.processor.qkv_lora.up.weight", "double_blocks.18.processor.qkv_lora2.up.weight")
"""With both of these it takes an XLabs file for USO's, which it reads."""
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
class _Taken:
    """What it makes of one module of the file."""

    change: LayerDelta | None
    keys: set[str]
    wrong: str = ""


def comfyui_module_names(names: Collection[str]) -> dict[str, FusedWeight]:
    """Every module name that ComfyUI knows in a file, and the weight that it means."""
    known = {}
    for bfl, seat in fused_weights(names).items():
        known[f"diffusion_model.{bfl}"] = seat
        known[f"lora_unet_{bfl.replace('.', '_')}"] = seat
    for name in names:
        flat = name.replace(".", "_")
        known |= dict.fromkeys(
            (f"transformer.{name}", f"lycoris_{flat}", f"lora_transformer_{flat}"), FusedWeight((name,))
        )
    return known | dict(_text_places())


def _text_places() -> Iterator[tuple[str, FusedWeight]]:
    for name in CLIP_NAMES:
        seat = FusedWeight((f"text_encoder.{name}",))
        yield f"text_encoder.{name}", seat
        yield f"text_encoders.clip_l.transformer.{name}", seat
        yield from ((f"{prefix}{name.replace('.', '_')}", seat) for prefix in CLIP_PREFIXES)
    for name in T5_NAMES:
        seat = FusedWeight((f"text_encoder_2.{name}",))
        yield f"text_encoders.t5xxl.transformer.{name}", seat
        yield from ((f"{prefix}{name.replace('.', '_')}", seat) for prefix in T5_PREFIXES)


def load_in_comfyui(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> LoadResult:
    """ComfyUI's reading."""
    known = comfyui_module_names(names)
    if all(mark in tensors for mark in XLABS_MARKS):
        known |= _xlabs_places(names)
    return without_metadata_alpha(_looked_up(tensors, known), metadata)


def load_in_forge(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> LoadResult:
    """Forge's reading."""
    return without_metadata_alpha(_looked_up(tensors, comfyui_module_names(names)), metadata)


def _xlabs_places(names: Collection[str]) -> dict[str, FusedWeight]:
    known = {}
    for bfl, seat in fused_weights(names).items():
        kind, number, part = bfl.split(".", 2) if "blocks." in bfl else ("", "", "")
        for short, long in XLABS_PARTS.items():
            if part == long:
                parts = seat.parts[:3]
                known[f"{kind}.{number}.processor.{short}"] = FusedWeight(parts, fused=seat.fused)
    return known


def _looked_up(tensors: Mapping[str, Tensor], known: Mapping[str, FusedWeight]) -> LoadResult:
    changes: dict[str, LayerDelta] = {}
    used: set[str] = set()
    wrong = ""
    for stem, module in modules_of(tensors).items():
        if stem not in known:
            continue
        torn = _torn(module)
        if torn:
            return stopped(f"stops at {torn}, whose other half is not in the file", tensors)
        taken = _taken(module)
        landings = {} if taken.change is None else unfuse(taken.change, known[stem])
        if taken.change is None or landings:
            changes |= landings
            used |= taken.keys
        wrong = wrong or taken.wrong
    return LoadResult(deltas=changes, unused=tuple(sorted(set(tensors) - used)), wrong=wrong)


def _torn(module: Module) -> str:
    """The key of an `up` without its `down`: looked for, and not found."""
    spelled = next((PAIRS[pair] for pair in ORDER if module.has(PAIRS[pair][1])), None)
    return f"{module.stem}{spelled[1]}" if spelled and not module.has(spelled[0]) else ""


def _taken(module: Module) -> _Taken:
    """It tries each kind in turn, and a later one overwrites an earlier."""
    alpha = alpha_of(module)
    taken = _Taken(None, module.keys([ALPHA, DORA_SCALE]))
    for pair in ORDER:
        layer = lora_of(module, pair, alpha)
        if layer is not None:
            taken = _Taken(layer, taken.keys | module.keys(PAIRS[pair]))
            break
    others = (
        (loha_of(module, alpha), LOHA_ENDINGS),
        (lokr_of(module, alpha), LOKR_ENDINGS),
        (oft_of(module, alpha), OFT_ENDINGS),
    )
    for change, endings in others:
        if change is not None:
            taken = _Taken(change, taken.keys | module.keys(endings))
    return _with_magnitude(module, taken)


def _with_magnitude(module: Module, taken: _Taken) -> _Taken:
    if taken.change is None:
        return taken
    if isinstance(taken.change, OFT) and taken.change.rescale is not None:
        return _Taken(taken.change, taken.keys, "reads OFT's rescale and does not apply it")
    if module.has(PEFT_MAGNITUDE) or module.has(f"{PEFT_MAGNITUDE}.weight") or module.has(".magnitude"):
        return _Taken(taken.change, taken.keys, "leaves DoRA's magnitudes out and applies a plain LoRA")
    scale = module.tensors.get(DORA_SCALE)
    if scale is None:
        return taken
    per_input = scale.ndim == 2 and scale.shape[0] == 1
    wrong = "" if per_input else "divides DoRA's magnitudes per output by the wrong norm (ComfyUI PR 15458)"
    layer = taken.change
    change = DoRA(layer, scale.flatten(), per_input) if isinstance(layer, LoRA) else layer
    return _Taken(change, taken.keys, wrong)


COMFYUI = Loader("ComfyUI", "LoraLoader and LoraLoaderModelOnly, measured with 0.3.64", load_in_comfyui)
FORGE = Loader("Forge", "stable-diffusion-webui-forge; from its source, not run", load_in_forge)
