"""diffusers: FluxPipeline.load_lora_weights of 0.33 and later (measured with 0.42.1), and of 0.32; its conversions of
kohya, XLabs and fal files.

It first decides by a few marks which tool wrote the file, and converts the names; what is then not below
`transformer.` or `text_encoder.` stays unused, mostly without an error.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from flux_lora.adapter.layer_types import DoRA, LayerDelta, LoRA
from flux_lora.adapter.loaders.diffusers_flux2 import load_flux2
from flux_lora.adapter.loaders.diffusers_flux3 import load_flux3
from flux_lora.adapter.loaders.keys import ALPHA, PAIRS, PEFT_MAGNITUDE, Module, alpha_of, lora_of, modules_of, unfuse
from flux_lora.adapter.loaders.result import (
    METADATA_KEY,
    NO_METADATA_ALPHA,
    Loader,
    LoadResult,
    MetadataAlpha,
    metadata_alpha,
    stopped,
    without_metadata_alpha,
    without_trained_alpha,
)
from flux_lora.models.flux1.layers import (
    CLIP_NAMES,
    DOUBLE_BLOCK,
    DOUBLES,
    EMBEDDERS,
    FINAL,
    SINGLE_BLOCK,
    SINGLES,
    fused_weights,
)
from flux_lora.models.flux2.layers import has_flux2_layers
from flux_lora.models.flux3.layers import has_flux3_layers
from flux_lora.models.fused_weight import FusedWeight

DOWN = PAIRS["down up"][0]
XLABS_DOUBLE = {
    "qkv_lora1": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "qkv_lora2": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "proj_lora1": ("attn.to_out.0",),
    "proj_lora2": ("attn.to_add_out",),
}
XLABS_SINGLE = {"qkv_lora": ("attn.to_q", "attn.to_k", "attn.to_v"), "proj_lora": ("proj_out",)}
ONETRAINER, KOHYA, BFL, FAL = "lora_transformer_", "lora_unet_", "diffusion_model.", "base_model.model."
CLIP_L = "text_encoders.clip_l.transformer."
CONVERTED = (KOHYA, "lora_te_", "lora_te1_")
CONVERTED_IN_032 = (KOHYA, "lora_te1_")
LOST = frozenset(bfl.replace(".", "_") for bfl in (EMBEDDERS | FINAL))
"""BFL names that are converted to names without `transformer.`, and dropped."""


@dataclass(frozen=True)
class _Rules:
    """One conversion."""

    weights: Mapping[str, FusedWeight]
    """By module name in the file."""
    spelling: str
    """Of keys.PAIRS."""
    needs_alpha: bool = False
    """Whether a module without alpha is an error."""
    scaled: bool = True
    """Whether alpha is used."""


def load_converted(tensors: Mapping[str, Tensor], names: Collection[str], *, is_032: bool) -> LoadResult | None:
    """The result for a file that it takes for another tool's; None for a file in diffusers' own names."""
    if any(DOWN in key for key in tensors):
        return _down_up(tensors, names, is_032=is_032)
    if any("processor" in key for key in tensors):
        return _read(tensors, _Rules(_xlabs_names(names), "processor", scaled=False))
    if any("base_model" in key for key in tensors):
        return _fal(tensors, names)
    return None


def _down_up(tensors: Mapping[str, Tensor], names: Collection[str], *, is_032: bool) -> LoadResult:
    if any(key.startswith("transformer.") for key in tensors):
        return _transformer_names(tensors, names, is_032=is_032)
    if any(key.startswith(ONETRAINER) for key in tensors):
        return _onetrainer(tensors, names, is_032=is_032)
    return _kohya(tensors, names, is_032=is_032)


def _transformer_names(tensors: Mapping[str, Tensor], names: Collection[str], *, is_032: bool) -> LoadResult:
    if is_032:
        return stopped("stops: it knows lora_down and lora_up only with kohya's names", tensors)
    weights = {f"transformer.{name}": FusedWeight((name,)) for name in names}
    modules = [module for stem, module in modules_of(tensors).items() if stem in weights]
    scales = [(1.0, lora.scale) for module in modules if (lora := lora_of(module, "down up", alpha_of(module)))]
    return without_trained_alpha(_read(tensors, _Rules(weights, "down up", scaled=False)), scales)


def _onetrainer(tensors: Mapping[str, Tensor], names: Collection[str], *, is_032: bool) -> LoadResult:
    if is_032:
        return stopped(f"stops at names that begin with {ONETRAINER}", tensors)
    known = [name for name in names if "blocks." not in name or ".attn." in name]
    weights = {f"{ONETRAINER}{name.replace('.', '_')}": FusedWeight((name,)) for name in known}
    weights |= _clip_names("lora_te1_")
    unknown = [stem for stem in modules_of(tensors) if stem not in weights and not stem.startswith(KOHYA)]
    if unknown:
        return stopped(f"stops: of the blocks it knows attention only, and not {min(unknown)}", tensors)
    return _read(tensors, _Rules(weights, "down up", needs_alpha=True))


def _kohya(tensors: Mapping[str, Tensor], names: Collection[str], *, is_032: bool) -> LoadResult:
    """BFL's dotted names are turned into kohya's first; 0.32 does not do that."""
    blocks = {bfl: weight for bfl, weight in fused_weights(names).items() if "blocks." in bfl}
    weights = {f"{KOHYA}{bfl.replace('.', '_')}": weight for bfl, weight in blocks.items()} | _clip_names("lora_te1_")
    if not is_032:
        weights |= _clip_names("lora_te_") | {f"{BFL}{bfl}": weight for bfl, weight in blocks.items()}
        weights |= {f"{CLIP_L}{name}": FusedWeight((f"text_encoder.{name}",)) for name in CLIP_NAMES}
    stems = [stem for stem in modules_of(tensors) if is_032 or _underscored(stem).startswith(CONVERTED)]
    if not stems:
        return stopped("stops: no name is left after its conversion", tensors)
    unknown = sorted(stem for stem in stems if stem not in weights and (is_032 or not _dropped(stem)))
    if unknown:
        return stopped(f"stops: incompatible keys, first {unknown[0]}", tensors)
    return _read(tensors, _Rules(weights, "down up", needs_alpha=is_032))


def _dropped(stem: str) -> bool:
    underscored = _underscored(stem)
    return underscored.removeprefix(KOHYA) in LOST or not underscored.startswith(KOHYA)


def _underscored(stem: str) -> str:
    """The name after the first step of the conversion."""
    return stem.replace(BFL, KOHYA).replace(CLIP_L, "lora_te_").replace(".", "_")


def _clip_names(prefix: str) -> dict[str, FusedWeight]:
    return {f"{prefix}{name.replace('.', '_')}": FusedWeight((f"text_encoder.{name}",)) for name in CLIP_NAMES}


def _xlabs_names(names: Collection[str]) -> dict[str, FusedWeight]:
    weights = {}
    for diffusers, xlabs, modules in (
        ("transformer_blocks", "double_blocks", XLABS_DOUBLE),
        ("single_transformer_blocks", "single_blocks", XLABS_SINGLE),
    ):
        for number in range(SINGLES):
            for module, parts in modules.items():
                weight = FusedWeight(tuple(f"{diffusers}.{number}.{part}" for part in parts))
                weights[f"{xlabs}.{number}.processor.{module}"] = weight
    return {name: weight for name, weight in weights.items() if all(part in names for part in weight.parts)}


def _fal(tensors: Mapping[str, Tensor], names: Collection[str]) -> LoadResult:
    """It takes every layer of all blocks out of the file, and stops at the first that is absent."""
    weights = {f"{FAL}{bfl}": weight for bfl, weight in fused_weights(names).items()}
    required = [f"{FAL}double_blocks.{number}.{bfl}" for number in range(DOUBLES) for bfl in DOUBLE_BLOCK]
    required += [f"{FAL}single_blocks.{number}.{bfl}" for number in range(SINGLES) for bfl in SINGLE_BLOCK]
    found = modules_of(tensors)
    absent = [stem for stem in required if stem not in found]
    if absent:
        return stopped(f"stops with a KeyError: takes it for a file of fal's, and {absent[0]} is not in it", tensors)
    return _read(tensors, _Rules(weights, "AB", scaled=False))


def _read(tensors: Mapping[str, Tensor], rules: _Rules) -> LoadResult:
    deltas: dict[str, LayerDelta] = {}
    used: set[str] = set()
    for stem, module in modules_of(tensors).items():
        if stem not in rules.weights:
            continue
        if rules.needs_alpha and not module.has(ALPHA):
            return stopped(f"stops with a KeyError: {stem}{ALPHA} is not in the file", tensors)
        if rules.scaled and (alpha_of(module) or 0.0) < 0:
            return stopped(f"never comes to an end with {stem}{ALPHA} below 0", tensors)
        unfused, keys = _converted(module, rules, rules.weights[stem])
        deltas |= unfused
        used |= keys
    return LoadResult(deltas=deltas, unused=tuple(sorted(set(tensors) - used)))


def _converted(module: Module, rules: _Rules, weight: FusedWeight) -> tuple[dict[str, LayerDelta], set[str]]:
    layer = lora_of(module, rules.spelling, alpha_of(module) if rules.scaled else None)
    unfused = {} if layer is None else unfuse(layer, weight)
    endings = (*PAIRS[rules.spelling], ALPHA) if rules.scaled else PAIRS[rules.spelling]
    return unfused, module.keys(endings) if unfused else set()


def load_in_diffusers(tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]) -> LoadResult:
    """What 0.33 and later do with a file."""
    if has_flux3_layers(names):
        return load_flux3(tensors, metadata, names)
    if has_flux2_layers(names):
        return load_flux2(tensors, metadata, names)
    return _load(tensors, metadata, names, is_032=False)


def load_in_diffusers_032(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str]
) -> LoadResult:
    """What 0.32 does with a file: no metadata, one rank, alpha in every kohya file."""
    return _load(tensors, metadata, names, is_032=True)


def _load(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str], *, is_032: bool
) -> LoadResult:
    kept: Mapping[str, Tensor] = tensors
    if any("dora_scale" in key for key in tensors):
        kept = {key: tensor for key, tensor in tensors.items() if "dora_scale" not in key}
    result = load_converted(kept, names, is_032=is_032) or _diffusers_names(kept, metadata, names, is_032=is_032)
    if len(kept) == len(tensors):
        return result
    dropped = tuple(sorted({*result.unused, *(set(tensors) - set(kept))}))
    wrong = result.wrong or ("leaves DoRA's dora_scale out and applies a plain LoRA" if result.deltas else "")
    return replace(result, unused=dropped, wrong=wrong)


def _diffusers_names(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str], *, is_032: bool
) -> LoadResult:
    if not any("lora" in key for key in tensors):
        return stopped("stops: no key of the file holds the word lora", tensors)
    alphas = metadata_alpha(metadata)
    if METADATA_KEY in metadata and alphas is None:
        return stopped(f"stops: the metadata's {METADATA_KEY} is not the settings of a LoRA", tensors)
    if alphas is not None and not is_032 and any(key.endswith(ALPHA) for key in tensors):
        return stopped(f"stops: the file has both alpha keys and {METADATA_KEY}", tensors)
    used_alphas = NO_METADATA_ALPHA if alphas is None or is_032 else alphas
    result = _peft_pairs(tensors, names, used_alphas, is_032=is_032)
    if is_032 and result.deltas and _has_several_ranks(result.deltas):
        return stopped("stops: it takes one rank for all modules, and the file has several", tensors)
    return without_metadata_alpha(result, metadata) if is_032 else result


def _peft_pairs(
    tensors: Mapping[str, Tensor], names: Collection[str], alphas: MetadataAlpha, *, is_032: bool
) -> LoadResult:
    known = _known_names(names, is_032=is_032)
    deltas: dict[str, LayerDelta] = {}
    used: set[str] = set()
    for stem, module in modules_of(tensors).items():
        if stem not in known:
            continue
        layer = lora_of(module, "AB", alpha_of(module))
        if layer is None:
            continue
        told = None if module.has(ALPHA) else alphas.alpha(stem, layer.rank)
        layer = layer if told is None else replace(layer, alpha=told)
        magnitude = _magnitude(module)
        deltas[known[stem]] = layer if magnitude is None else DoRA(layer, magnitude, per_input=False)
        used |= module.keys((*PAIRS["AB"], ALPHA, PEFT_MAGNITUDE, f"{PEFT_MAGNITUDE}.weight"))
    return LoadResult(deltas=deltas, unused=tuple(sorted(set(tensors) - used)))


def _known_names(names: Collection[str], *, is_032: bool) -> dict[str, str]:
    """Module names in a file -> our names.

    transformers 5 calls CLIP's modules encoder.layers..., and renames the older names while loading.
    """
    clip = {f"text_encoder.{name}": f"text_encoder.{name}" for name in CLIP_NAMES}
    newer = {} if is_032 else {name.replace(".text_model.", "."): name for name in clip}
    return {f"transformer.{name}": name for name in names} | clip | newer


def _magnitude(module: Module) -> Tensor | None:
    """peft's magnitudes: O."""
    found = (module.tensors.get(PEFT_MAGNITUDE), module.tensors.get(f"{PEFT_MAGNITUDE}.weight"))
    return next((tensor.flatten() for tensor in found if tensor is not None), None)


def _has_several_ranks(deltas: Mapping[str, LayerDelta]) -> bool:
    layers = (delta.lora if isinstance(delta, DoRA) else delta for delta in deltas.values())
    return len({layer.rank for layer in layers if isinstance(layer, LoRA)}) > 1


NO_TEXT_ENCODER = "a pipeline without its text encoder stops at them"
DIFFUSERS = Loader(
    "diffusers",
    "FluxPipeline.load_lora_weights, measured with 0.42.1",
    load_in_diffusers,
    flux2=True,
    without_flux3="",
    without_text_encoders=NO_TEXT_ENCODER,
)
DIFFUSERS_032 = Loader(
    "diffusers 0.32",
    "the same in 0.32.1, still pinned by many",
    load_in_diffusers_032,
    without_text_encoders=NO_TEXT_ENCODER,
)
