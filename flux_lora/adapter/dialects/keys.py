"""The keys of a dialect, an adapter written in them, and refusals of what a dialect cannot hold.

A key is a prefix, the name of a module and the name of one of its tensors:

    lora_unet_  double_blocks_0_img_mlp_0  .lora_down.weight

Tensors of a layer type have the shapes that layer_types.py gives; alpha has none: ().
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from flux_lora.adapter.dialects.bfl import to_bfl
from flux_lora.adapter.dialects.flux2_names import is_flux2
from flux_lora.adapter.dialects.flux3_names import is_flux3
from flux_lora.adapter.dialects.module_names import is_bfl, underscored
from flux_lora.adapter.dialects.module_tensors import ALPHA, MAGNITUDE, RESCALE, fold_scale, tensors_of_delta
from flux_lora.adapter.layer_types import OFT, RESIZE_WITH_BASE, Adapter, DoRA, LayerDelta, all_finite, type_name
from flux_lora.errors import AdapterFileError

OF_THE_WEIGHT = (MAGNITUDE, RESCALE)
"""Roles that multiply the base's weight: what 16 bits round off of them may be as much as the whole change."""
PEFT_ENDS = {"down": ".lora_A.weight", "up": ".lora_B.weight", "magnitude": ".lora_magnitude_vector"}
KOHYA_ENDS = {"down": ".lora_down.weight", "up": ".lora_up.weight", "magnitude": ".dora_scale"}
EVERYTHING = r".+"
"""Pattern of every module name."""


def other_dialect_fix(dialect: str) -> str:
    """The fix that names another dialect, as each command spells it."""
    return f"write it in {dialect} names: to={dialect}, or export.dialects=[{dialect}] in an export"


OTHER_TYPES = f"{other_dialect_fix('lycoris')}; or turn it into a LoRA first: flux-lora resize"
UNSPLIT = f"{other_dialect_fix('comfyui')}, as it was trained unsplit; or turn it into a LoRA first: flux-lora resize"
WIDER = "write it in bf16: dtype=bf16, or export.dtype=bf16 in an export"


@dataclass(frozen=True, kw_only=True)
class KeyFormat:
    """The keys of one dialect, and what it can hold."""

    dialect: str
    prefix: str
    native: bool = False
    """Whether modules have BFL's names; else diffusers'."""
    numbered: bool = False
    """Whether the parts of a fused BFL module have names of their own: qkv.0, qkv.1, qkv.2."""
    underscores: bool = False
    """Whether the dots of a module's name are written as _."""
    ends: Mapping[str, str] = field(default_factory=lambda: KOHYA_ENDS)
    """Endings of tensors by role, where that is not a dot and the role."""
    alpha: bool = True
    """Whether each module has an alpha key; else the scale is folded into `up`."""
    layer_types: tuple[str, ...] = ("LoRA",)
    """The types that all of its loaders read right."""
    modules: str = EVERYTHING
    """Pattern of the modules that its loaders take, by diffusers' names."""
    flux2: bool = False
    """Whether its loaders take adapters for FLUX.2 too."""
    flux3: bool = False
    """Whether they take adapters for FLUX.3 too."""
    fix: str = other_dialect_fix("diffusers")
    """Where to put the modules outside that pattern."""

    def key(self, module: str, part: str) -> str:
        """The key of the tensor of this role."""
        name = underscored(module) if self.underscores else module
        return f"{self.prefix}{name}{self.ends.get(part, f'.{part}')}"


def to_keys(adapter: Adapter, key_format: KeyFormat, dtype: torch.dtype) -> dict[str, Tensor]:
    """The adapter under these keys. alpha and OF_THE_WEIGHT are float32, everything else has the dtype."""
    refuse_types(adapter, key_format.dialect, key_format.layer_types)
    other_model = list(adapter.deltas) if is_flux2(adapter.deltas) and not key_format.flux2 else []
    refuse_modules(key_format.dialect, other_model, "no reader for FLUX.2's", fix=other_dialect_fix("diffusers"))
    other_model = list(adapter.deltas) if is_flux3(adapter.deltas) and not key_format.flux3 else []
    refuse_modules(key_format.dialect, other_model, "no reader for FLUX.3's", fix=other_dialect_fix("diffusers"))
    homeless = [name for name in adapter.deltas if not re.fullmatch(key_format.modules, name)]
    refuse_modules(key_format.dialect, homeless, "no reader for", fix=key_format.fix)
    if key_format.native:
        return deltas_to_keys(to_bfl(adapter), key_format, dtype)
    fused = [name for name in adapter.deltas if is_bfl(name)]
    refuse_modules(key_format.dialect, fused, "no name for", fix=_other_types_fix(adapter))
    return deltas_to_keys(adapter.deltas.items(), key_format, dtype)


def deltas_to_keys(
    deltas: Iterable[tuple[str, LayerDelta]], key_format: KeyFormat, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Tensors by key, of deltas whose modules already have the names that the format takes."""
    tensors = {}
    for module, delta in deltas:
        for role, tensor in tensors_of_delta(_with_readable_scale(delta, dtype, has_alpha=key_format.alpha)).items():
            if role != ALPHA:
                wide = torch.float32 if role in OF_THE_WEIGHT else dtype
                tensors[key_format.key(module, role)] = cast_tensor(tensor, wide, module)
            elif key_format.alpha:
                tensors[key_format.key(module, role)] = tensor.float()
    return tensors


def refuse_types(adapter: Adapter, dialect: str, layer_types: Iterable[str]) -> None:
    """AdapterFileError where a delta is of a type that the dialect's loaders would misread."""
    others = {name: type_name(delta) for name, delta in adapter.deltas.items() if type_name(delta) not in layer_types}
    first = next(iter(others.values()), "")
    refuse_modules(
        dialect, list(others), f"no {first} that all its readers read right; one is on", fix=_other_types_fix(adapter)
    )


def refuse_modules(dialect: str, modules: list[str], lack: str, *, fix: str) -> None:
    """AdapterFileError where there are modules that the dialect cannot hold."""
    if modules:
        more = f" and {len(modules) - 3} more" if len(modules) > 3 else ""
        raise AdapterFileError(f"the {dialect} dialect has {lack} {', '.join(modules[:3])}{more}", fix=fix)


def cast_tensor(tensor: Tensor, dtype: torch.dtype, module: str) -> Tensor:
    """The tensor in the file's dtype, of any shape; AdapterFileError where a number would become infinite."""
    after = tensor.to(dtype).contiguous()
    if dtype is not tensor.dtype and not all_finite(after) and all_finite(tensor):
        raise AdapterFileError(
            f"{module} holds {tensor.abs().max().item():.3g}, more than {str(dtype).removeprefix('torch.')} can",
            fix=WIDER,
        )
    return after


def _other_types_fix(adapter: Adapter) -> str:
    """For adapters that are not plain LoRAs: comfyui has the fused modules, lycoris every type, and no dialect both."""
    if not any(is_bfl(name) for name in adapter.deltas):
        return OTHER_TYPES
    needs_base = any(isinstance(delta, DoRA | OFT) for delta in adapter.deltas.values())
    return RESIZE_WITH_BASE if needs_base else UNSPLIT


def _with_readable_scale(delta: LayerDelta, dtype: torch.dtype, *, has_alpha: bool) -> LayerDelta:
    """With its scale folded in where there is no alpha key, or it would be misread: sd-scripts takes an alpha of 0
    for the rank, and diffusers (0.42) never comes to an end with one below."""
    if isinstance(delta, OFT):
        return delta
    alpha = delta.lora.alpha if isinstance(delta, DoRA) else delta.alpha
    return delta if has_alpha and alpha > 0 else fold_scale(delta, dtype)
