"""How a dialect spells its keys, and an adapter written in that spelling.

A key is a prefix, the name of a module and the name of one of its tensors:

    lora_unet_  double_blocks_0_img_mlp_0  .lora_down.weight
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from flux_lora.adapter.kinds import OFT, RESIZE_WITH_BASE, DoRA, LayerDelta, type_name
from flux_lora.adapter.layouts.names import is_bfl, underscored
from flux_lora.adapter.layouts.native import to_bfl
from flux_lora.adapter.layouts.parts import ALPHA, fold_scale, tensors_of_delta
from flux_lora.adapter.tensors import Adapter
from flux_lora.errors import AdapterFileError

PEFT_ENDS = {"down": ".lora_A.weight", "up": ".lora_B.weight", "magnitude": ".lora_magnitude_vector"}
KOHYA_ENDS = {"down": ".lora_down.weight", "up": ".lora_up.weight", "magnitude": ".dora_scale"}


def other_dialect_fix(dialect: str) -> str:
    """The way out into another dialect, as each command spells it."""
    return f"write it in {dialect} names: to={dialect}, or export.dialects=[{dialect}] in an export"


OTHER_KINDS = f"{other_dialect_fix('lycoris')}; or turn it into a LoRA first: flux-lora resize"
UNSPLIT = f"{other_dialect_fix('comfyui')}, as it was trained unsplit; or turn it into a LoRA first: flux-lora resize"
WIDER = "write it in bf16: dtype=bf16, or export.dtype=bf16 in an export"


@dataclass(frozen=True, kw_only=True)
class KeyFormat:
    """The keys of one dialect."""

    dialect: str
    prefix: str
    native: bool = False
    """Whether modules have the names of FLUX's own model; else diffusers'."""
    numbered: bool = False
    """Whether the parts of a native module have names of their own: qkv.0, qkv.1, qkv.2."""
    underscores: bool = False
    """Whether the dots of a module's name are written as _."""
    ends: Mapping[str, str] = field(default_factory=lambda: KOHYA_ENDS)
    """What the tensors are called, where that is not a dot and their name."""
    alpha: bool = True
    """Whether alpha is told beside each module; else it is folded into `up`."""
    kinds: tuple[str, ...] = ("LoRA",)
    """What its readers read right."""
    without: tuple[str, ...] = ()
    """diffusers' modules that its readers do not take."""
    fix: str = other_dialect_fix("diffusers")
    """What to do with modules that it cannot carry."""

    def key(self, module: str, part: str) -> str:
        """The key of one tensor."""
        name = underscored(module) if self.underscores else module
        return f"{self.prefix}{name}{self.ends.get(part, f'.{part}')}"


def to_keys(adapter: Adapter, spelling: KeyFormat, dtype: torch.dtype) -> dict[str, Tensor]:
    """The adapter in this spelling. alpha is a float32 of its own, everything else has the dtype."""
    _check(adapter, spelling)
    return deltas_to_keys(to_bfl(adapter) if spelling.native else adapter.deltas.items(), spelling, dtype)


def deltas_to_keys(
    changes: Iterable[tuple[str, LayerDelta]], spelling: KeyFormat, dtype: torch.dtype
) -> dict[str, Tensor]:
    """Changes whose modules have the names that the spelling wants."""
    tensors = {}
    for module, change in changes:
        for part, tensor in tensors_of_delta(_scaled(change, told=spelling.alpha)).items():
            if part != ALPHA:
                tensors[spelling.key(module, part)] = cast_tensor(tensor, dtype, module)
            elif spelling.alpha:
                tensors[spelling.key(module, part)] = tensor.float()
    return tensors


def refuse_kinds(adapter: Adapter, dialect: str, kinds: Iterable[str]) -> None:
    """Stop at changes of a kind that the dialect's readers would get wrong."""
    others = {name: type_name(change) for name, change in adapter.deltas.items() if type_name(change) not in kinds}
    kind = next(iter(others.values()), "")
    refuse_modules(
        dialect, list(others), f"no {kind} that all its readers read right; one is on", fix=_way_out(adapter)
    )


def refuse_modules(dialect: str, modules: list[str], lack: str, *, fix: str) -> None:
    """Stop at modules that the dialect cannot carry."""
    if modules:
        more = f" and {len(modules) - 3} more" if len(modules) > 3 else ""
        raise AdapterFileError(f"the {dialect} dialect has {lack} {', '.join(modules[:3])}{more}", fix=fix)


def cast_tensor(tensor: Tensor, dtype: torch.dtype, module: str) -> Tensor:
    """The tensor as the file will hold it. A number too large for the dtype would become infinite."""
    after = tensor.to(dtype).contiguous()
    if bool(after.isinf().any()) and not bool(tensor.isinf().any()):
        raise AdapterFileError(
            f"{module} holds {tensor.abs().max().item():.3g}, more than {str(dtype).removeprefix('torch.')} can",
            fix=WIDER,
        )
    return after


def _check(adapter: Adapter, spelling: KeyFormat) -> None:
    refuse_kinds(adapter, spelling.dialect, spelling.kinds)
    lost = [name for name in adapter.deltas if name in spelling.without]
    refuse_modules(spelling.dialect, lost, "no reader for", fix=spelling.fix)
    if not spelling.native:
        whole = [name for name in adapter.deltas if is_bfl(name)]
        refuse_modules(spelling.dialect, whole, "no name for", fix=_way_out(adapter))


def _way_out(adapter: Adapter) -> str:
    """Of adapters that are not plain LoRAs: comfyui has the whole matrices, lycoris every kind, and no dialect both."""
    if not any(is_bfl(name) for name in adapter.deltas):
        return OTHER_KINDS
    turned = any(isinstance(change, DoRA | OFT) for change in adapter.deltas.values())
    return RESIZE_WITH_BASE if turned else UNSPLIT


def _scaled(change: LayerDelta, *, told: bool) -> LayerDelta:
    """With its scale in the tensors where alpha is not told, or would be misread: sd-scripts takes an alpha of 0
    for the rank, and diffusers (0.42) never comes to an end with one below."""
    if isinstance(change, OFT):
        return change
    alpha = change.lora.alpha if isinstance(change, DoRA) else change.alpha
    return change if told and alpha > 0 else fold_scale(change)
