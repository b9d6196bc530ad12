"""Files of other tools that diffusers recognises by a mark and converts: kohya, OneTrainer, XLabs, fal."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from flux_lora.adapter.kinds import LayerDelta
from flux_lora.adapter.readers.architecture import (
    CLIP_NAMES,
    DOUBLE_BLOCK,
    DOUBLES,
    EMBEDDERS,
    FINAL,
    SINGLE_BLOCK,
    SINGLES,
    FusedWeight,
    fused_weights,
)
from flux_lora.adapter.readers.consumed import LoadResult, stopped, without_trained_alpha
from flux_lora.adapter.readers.landing import unfuse
from flux_lora.adapter.readers.spelling import ALPHA, PAIRS, Module, alpha_of, lora_of, modules_of

DOWN = PAIRS["down up"][0]
XLABS_DOUBLE = {
    "qkv_lora1": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "qkv_lora2": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "proj_lora1": ("attn.to_out.0",),
    "proj_lora2": ("attn.to_add_out",),
}
XLABS_SINGLE = {"qkv_lora": ("attn.to_q", "attn.to_k", "attn.to_v"), "proj_lora": ("proj_out",)}
MIXTURE, KOHYA, BFL, FAL = "lora_transformer_", "lora_unet_", "diffusion_model.", "base_model.model."
CLIP_L = "text_encoders.clip_l.transformer."
CONVERTED = (KOHYA, "lora_te_", "lora_te1_")
CONVERTED_IN_032 = (KOHYA, "lora_te1_")
LOST = frozenset(bfl.replace(".", "_") for bfl in (EMBEDDERS | FINAL))
"""Converted to names without `transformer.`, and dropped."""


@dataclass(frozen=True)
class _Rules:
    """One conversion: which module means which weight, how its factors are spelled, whether alpha has to be there."""

    places: Mapping[str, FusedWeight]
    spelled: str
    needs_alpha: bool = False
    scaled: bool = True


def load_converted(tensors: Mapping[str, Tensor], names: Collection[str], *, old: bool) -> LoadResult | None:
    """The reading of a file that carries another tool's mark; None for a file in diffusers' own names."""
    if any(DOWN in key for key in tensors):
        return _down_up(tensors, names, old=old)
    if any("processor" in key for key in tensors):
        return _read(tensors, _Rules(_xlabs_places(names), "processor", scaled=False))
    if any("base_model" in key for key in tensors):
        return _fal(tensors, names)
    return None


def _down_up(tensors: Mapping[str, Tensor], names: Collection[str], *, old: bool) -> LoadResult:
    if any(key.startswith("transformer.") for key in tensors):
        return _transformer_names(tensors, names, old=old)
    if any(key.startswith(MIXTURE) for key in tensors):
        return _mixture(tensors, names, old=old)
    return _kohya(tensors, names, old=old)


def _transformer_names(tensors: Mapping[str, Tensor], names: Collection[str], *, old: bool) -> LoadResult:
    if old:
        return stopped("stops: it knows lora_down and lora_up only with kohya's names", tensors)
    places = {f"transformer.{name}": FusedWeight((name,)) for name in names}
    modules = [module for stem, module in modules_of(tensors).items() if stem in places]
    meant = [(1.0, lora.scale) for module in modules if (lora := lora_of(module, "down up", alpha_of(module)))]
    return without_trained_alpha(_read(tensors, _Rules(places, "down up", scaled=False)), meant)


def _mixture(tensors: Mapping[str, Tensor], names: Collection[str], *, old: bool) -> LoadResult:
    if old:
        return stopped(f"stops at names that begin with {MIXTURE}", tensors)
    plain = [name for name in names if "blocks." not in name or ".attn." in name]
    places = {f"{MIXTURE}{name.replace('.', '_')}": FusedWeight((name,)) for name in plain} | _clip_places("lora_te1_")
    unknown = [stem for stem in modules_of(tensors) if stem not in places and not stem.startswith(KOHYA)]
    if unknown:
        return stopped(f"stops: of the blocks it knows attention only, and not {min(unknown)}", tensors)
    return _read(tensors, _Rules(places, "down up", needs_alpha=True))


def _kohya(tensors: Mapping[str, Tensor], names: Collection[str], *, old: bool) -> LoadResult:
    """BFL's dotted names are turned into kohya's first; 0.32 does not do that."""
    blocks = {bfl: seat for bfl, seat in fused_weights(names).items() if "blocks." in bfl}
    places = {f"{KOHYA}{bfl.replace('.', '_')}": seat for bfl, seat in blocks.items()} | _clip_places("lora_te1_")
    if not old:
        places |= _clip_places("lora_te_") | {f"{BFL}{bfl}": seat for bfl, seat in blocks.items()}
        places |= {f"{CLIP_L}{name}": FusedWeight((f"text_encoder.{name}",)) for name in CLIP_NAMES}
    stems = [stem for stem in modules_of(tensors) if old or _flat(stem).startswith(CONVERTED)]
    if not stems:
        return stopped("stops: no name is left after its conversion", tensors)
    unknown = sorted(stem for stem in stems if stem not in places and (old or not _lost(stem)))
    if unknown:
        return stopped(f"stops: incompatible keys, first {unknown[0]}", tensors)
    return _read(tensors, _Rules(places, "down up", needs_alpha=old))


def _lost(stem: str) -> bool:
    flat = _flat(stem)
    return flat.removeprefix(KOHYA) in LOST or not flat.startswith(KOHYA)


def _flat(stem: str) -> str:
    """The name after its first step."""
    return stem.replace(BFL, KOHYA).replace(CLIP_L, "lora_te_").replace(".", "_")


def _clip_places(prefix: str) -> dict[str, FusedWeight]:
    return {f"{prefix}{name.replace('.', '_')}": FusedWeight((f"text_encoder.{name}",)) for name in CLIP_NAMES}


def _xlabs_places(names: Collection[str]) -> dict[str, FusedWeight]:
    places = {}
    for ours, theirs, parts in (
        ("transformer_blocks", "double_blocks", XLABS_DOUBLE),
        ("single_transformer_blocks", "single_blocks", XLABS_SINGLE),
    ):
        for number in range(SINGLES):
            for short, within in parts.items():
                seat = FusedWeight(tuple(f"{ours}.{number}.{part}" for part in within))
                places[f"{theirs}.{number}.processor.{short}"] = seat
    return {name: seat for name, seat in places.items() if all(part in names for part in seat.parts)}


def _fal(tensors: Mapping[str, Tensor], names: Collection[str]) -> LoadResult:
    """It asks for every layer of all blocks, and stops at the first that is not there."""
    places = {f"{FAL}{bfl}": seat for bfl, seat in fused_weights(names).items()}
    wanted = [f"{FAL}double_blocks.{number}.{bfl}" for number in range(DOUBLES) for bfl in DOUBLE_BLOCK]
    wanted += [f"{FAL}single_blocks.{number}.{bfl}" for number in range(SINGLES) for bfl in SINGLE_BLOCK]
    found = modules_of(tensors)
    absent = [stem for stem in wanted if stem not in found]
    if absent:
        return stopped(f"stops with a KeyError: takes it for a file of fal's, and {absent[0]} is not in it", tensors)
    return _read(tensors, _Rules(places, "AB", scaled=False))


def _read(tensors: Mapping[str, Tensor], rules: _Rules) -> LoadResult:
    changes: dict[str, LayerDelta] = {}
    used: set[str] = set()
    for stem, module in modules_of(tensors).items():
        if stem not in rules.places:
            continue
        if rules.needs_alpha and not module.has(ALPHA):
            return stopped(f"stops with a KeyError: {stem}{ALPHA} is not in the file", tensors)
        if rules.scaled and (alpha_of(module) or 0.0) < 0:
            return stopped(f"never comes to an end with {stem}{ALPHA} below 0", tensors)
        landings, keys = _module(module, rules, rules.places[stem])
        changes |= landings
        used |= keys
    return LoadResult(deltas=changes, unused=tuple(sorted(set(tensors) - used)))


def _module(module: Module, rules: _Rules, seat: FusedWeight) -> tuple[dict[str, LayerDelta], set[str]]:
    layer = lora_of(module, rules.spelled, alpha_of(module) if rules.scaled else None)
    landings = {} if layer is None else unfuse(layer, seat)
    endings = (*PAIRS[rules.spelled], ALPHA) if rules.scaled else PAIRS[rules.spelled]
    return landings, module.keys(endings) if landings else set()
