"""XLabs' dialect: double_blocks.0.processor.qkv_lora1.down.weight (1 is the image stream, 2 the text stream).

It has attention and the proj_out of single blocks, and nothing else; no alpha, so the scale is folded into `up`.
diffusers reads it, ComfyUI does not. A key's down is RI, its up OR (R rank, I inputs, O outputs).
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from flux_lora.adapter.dialects.bfl import fuse_qkv, split_qkv
from flux_lora.adapter.dialects.keys import cast_tensor, other_dialect_fix, refuse_modules, refuse_types
from flux_lora.adapter.dialects.module_names import QKV
from flux_lora.adapter.dialects.module_tensors import delta_from_tensors, fold_lora_scale_for
from flux_lora.adapter.dialects.read import FIX, StateDictContents, refuse_keys
from flux_lora.adapter.layer_types import Adapter, LayerDelta, LoRA
from flux_lora.errors import AdapterFileError

DIALECT = "xlabs"
LAYER_TYPES = ("LoRA",)
MODULES: Mapping[str, tuple[str, ...]] = {
    "double_blocks.{}.processor.qkv_lora1": tuple(f"transformer_blocks.{{}}.attn.to_{part}" for part in "qkv"),
    "double_blocks.{}.processor.qkv_lora2": tuple(f"transformer_blocks.{{}}.attn.add_{part}_proj" for part in "qkv"),
    "double_blocks.{}.processor.proj_lora1": ("transformer_blocks.{}.attn.to_out.0",),
    "double_blocks.{}.processor.proj_lora2": ("transformer_blocks.{}.attn.to_add_out",),
    "single_blocks.{}.processor.qkv_lora": tuple(f"single_transformer_blocks.{{}}.attn.to_{part}" for part in "qkv"),
    "single_blocks.{}.processor.proj_lora": ("single_transformer_blocks.{}.proj_out",),
}
"""XLabs' module: diffusers' modules that lie in it, top rows first."""
HOLDERS: Mapping[str, str] = {name: module for module, names in MODULES.items() for name in names}
"""diffusers' module: XLabs' module that it lies in."""
MODULE_PATTERN = "|".join(re.escape(name).replace(r"\{\}", r"\d+") for name in HOLDERS)
"""diffusers' modules that have a name here."""
COMFYUI = "diffusion_model."
"""Some tools put it before every key."""
KEY = re.compile(r"(?:diffusion_model\.)?((?:double|single)_blocks)\.\d{1,3}(\.processor\.\w+)\.(?:down|up)\.weight")
NUMBER = re.compile(r"(?<=blocks\.)\d+")


def to_xlabs(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """The adapter in this dialect; q, k and v stacked in one matrix."""
    refuse_types(adapter, DIALECT, LAYER_TYPES)
    homeless = [name for name in adapter.deltas if not re.fullmatch(MODULE_PATTERN, name)]
    refuse_modules(DIALECT, homeless, "no name for", fix=other_dialect_fix("diffusers"))
    members: dict[str, dict[str, LoRA]] = {}
    for name, layer in adapter.layers.items():
        template, number = _template(name)
        members.setdefault(HOLDERS[template].format(number), {})[name] = layer
    tensors = {}
    for module, layers in members.items():
        names = _diffusers_names(module)
        fused = layers[names[0]] if len(names) == 1 else fuse_qkv(module, [layers.get(name) for name in names], QKV)
        folded = fold_lora_scale_for(dtype, fused)
        tensors[f"{module}.down.weight"] = cast_tensor(folded.down, dtype, module)
        tensors[f"{module}.up.weight"] = cast_tensor(folded.up, dtype, module)
    return tensors


def from_xlabs(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> StateDictContents:
    """The adapter of a file in this dialect. Its metadata holds no alpha."""
    del metadata
    refuse_keys("keys that XLabs has not,", [key for key in tensors if not is_xlabs(key)])
    grouped: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        module, role = key.removeprefix(COMFYUI).removesuffix(".weight").rsplit(".", 1)
        if role in grouped.setdefault(module, {}):
            raise AdapterFileError(f"the file has {module}.{role} with and without {COMFYUI}", fix=FIX)
        grouped[module][role] = tensor
    deltas: dict[str, LayerDelta] = {}
    for module, roles in grouped.items():
        names, layer = _diffusers_names(module), delta_from_tensors(module, roles)
        assert isinstance(layer, LoRA), "a down and an up are a plain LoRA"
        parts = split_qkv(module, layer, QKV) if len(names) > 1 else (layer,)
        deltas |= {name: part for name, part in zip(names, parts, strict=True) if part is not None}
    return StateDictContents(Adapter(deltas), Adapter({}))


def is_xlabs(key: str) -> bool:
    """Whether a key is of this dialect."""
    match = KEY.fullmatch(key)
    return match is not None and f"{match[1]}.{{}}{match[2]}" in MODULES


def _diffusers_names(module: str) -> tuple[str, ...]:
    """The diffusers modules that lie in one of XLabs', top rows first."""
    template, number = _template(module)
    return tuple(name.format(number) for name in MODULES[template])


def _template(name: str) -> tuple[str, str]:
    """The name with {} for the number of its block, and the number."""
    number = NUMBER.search(name)
    assert number is not None, "every module of the table is in a block"
    return NUMBER.sub("{}", name, count=1), number[0]
