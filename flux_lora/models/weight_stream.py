"""A transformer filled from its files tensor by tensor: each goes to its device, dtype and quantisation at once.

The module is built on the meta device, where it takes no memory, and the files are mapped, not read: the host holds one
tensor at a time, and a base that is quantised is never anywhere in full.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from flux_lora.config.choices import Quantization
from flux_lora.errors import ModelError
from flux_lora.models.frozen_linear import frozen_linear
from flux_lora.models.offload import offload

INDEX_ENDING = ".safetensors.index.json"
FETCH_AGAIN = "fetch the model again"


@dataclass(frozen=True)
class Precision:
    """What weights become on their way to the device."""

    device: torch.device | str
    dtype: torch.dtype
    """Of what is not quantised, and of all that is computed."""
    quantize: Quantization = Quantization.none
    quantized: str = ""
    """Pattern of the whole names of the linear layers that `quantize` is for."""
    offloaded: str = ""
    """Pattern of those whose weights stay in host memory."""
    in_float32: str = ""
    """Pattern of the modules that stay so, whatever the rest computes in."""
    unused: str = ""
    """Pattern of the modules that are never computed: their weights stay in their file, mapped."""

    def place_of(self, layer: str) -> torch.device | str:
        """Where the layer's weights are kept."""
        return "cpu" if _among(layer, self.offloaded) or self.leaves(layer) else self.device

    def dtype_of(self, layer: str) -> torch.dtype:
        """What the layer's weights are kept in where they are not quantised."""
        return torch.float32 if _among(layer, self.in_float32) else self.dtype

    def quantizes(self, layer: str) -> bool:
        """Whether the layer's weight is to be kept in few bits."""
        return self.quantize is not Quantization.none and _among(layer, self.quantized) and not self.leaves(layer)

    def leaves(self, layer: str) -> bool:
        """Whether the layer is never computed."""
        return _among(layer, self.unused)


def _among(layer: str, pattern: str) -> bool:
    return bool(pattern) and bool(re.fullmatch(pattern, layer))


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of one model, its shards by the index. Raises ModelError where one is missing."""
    indices = sorted(folder.glob(f"*{INDEX_ENDING}"))
    if not indices:
        files = sorted(folder.glob("*.safetensors"))
        if len(files) != 1:
            raise ModelError(
                f"{folder} holds {len(files)} safetensors files and no index of them",
                fix="give a diffusers transformer folder, or one .safetensors file",
            )
        return files
    try:
        names = sorted(set(json.loads(indices[0].read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{indices[0]} is not the index of a sharded model", fix=FETCH_AGAIN) from error
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ModelError(f"{folder} lacks {len(missing)} of {len(names)} shards, first {missing[0]}", fix=FETCH_AGAIN)
    return [folder / name for name in names]


def fill(model: nn.Module, tensors: Iterable[tuple[str, Tensor]], precision: Precision) -> None:
    """Give a model on the meta device its weights; what is quantised becomes another kind of linear layer.

    Raises ModelError where a tensor has no place in the model, another shape, or is missing.
    """
    shapes = {name: each.shape for name, each in model.named_parameters()}
    with torch.no_grad():
        for name, tensor in tensors:
            if shapes.get(name) != tensor.shape:
                has = f"has {'no such tensor' if name not in shapes else list(shapes[name])}"
                raise ModelError(
                    f"the file's {name} is {list(tensor.shape)}, and the model {has} there",
                    fix="give the config.json that belongs to these weights",
                )
            _place(model, name, tensor, precision)
    missing = [name for name, each in model.named_parameters() if each.is_meta]
    if missing:
        raise ModelError(f"{len(missing)} tensors are missing from the file, first {missing[0]}", fix=FETCH_AGAIN)
    if precision.offloaded:
        offload(model, precision.offloaded)


def _place(model: nn.Module, name: str, tensor: Tensor, precision: Precision) -> None:
    layer, _, attribute = name.rpartition(".")
    module = model.get_submodule(layer)
    if precision.quantizes(layer) and attribute == "weight":
        frozen = frozen_linear(tensor.to(precision.device), precision.quantize)
        if frozen is not None:
            frozen.to(precision.place_of(layer)).register_parameter("bias", cast(nn.Linear, module).bias)
            model.set_submodule(layer, frozen)
            return
    copied = not precision.leaves(layer)
    there = tensor.to(device=precision.place_of(layer), dtype=precision.dtype_of(layer), copy=copied)
    module.register_parameter(attribute, nn.Parameter(there, requires_grad=False))
