"""The weights of a base on disk under the names that an adapter uses, whichever layout the base has."""

from collections.abc import Callable

import torch
from torch import Tensor

from flux_lora.adapter.bases.pieces import row_slice
from flux_lora.adapter.bases.shards import WIDE_DTYPES, BaseFiles, tensor_of
from flux_lora.adapter.layouts.names import bfl_name, diffusers_names, is_bfl, is_diffusers
from flux_lora.adapter.layouts.qkv import swap_halves
from flux_lora.errors import AdapterFileError, ModelError


def weight_reader(base: BaseFiles) -> Callable[[str], Tensor]:
    """The function from a module's name, diffusers' or FLUX's own, to its weight: OI, in the base's dtype.

    It reads one module at each call and keeps none.
    """

    def weight(name: str) -> Tensor:
        if base.native and is_diffusers(name):
            place = bfl_name(name)
            return _turned(row_slice(place).of(_read(base, place.module)), swap=place.swap)
        if not base.native and is_bfl(name):
            there = diffusers_names(name)
            return _turned(torch.cat([_read(base, part) for part in there.names]), swap=there.swap)
        return _read(base, name)

    return weight


def linear_modules(base: BaseFiles) -> tuple[str, ...]:
    """Every module with a matrix, under diffusers' names: what a LoRA can change."""
    found: list[str] = []
    for module, (file, key) in base.modules.items():
        if len(base.shards[file].tensors[key].shape) == 2:
            found += diffusers_names(module).names if is_bfl(module) else [module]
    return tuple(sorted(found))


def _read(base: BaseFiles, module: str) -> Tensor:
    if module not in base.modules:
        raise AdapterFileError(
            f"{base.root} has no layer {module}", fix="give the base that the adapter was trained on"
        )
    file, key = base.modules[module]
    dtype = base.shards[file].tensors[key].dtype
    if dtype not in WIDE_DTYPES:
        raise ModelError(
            f"{key} of {file} is stored as {dtype}", fix="give the bf16 model: this one is rounded already"
        )
    return tensor_of(file, base.shards[file], key)


def _turned(weight: Tensor, *, swap: bool) -> Tensor:
    return swap_halves(weight) if swap else weight
