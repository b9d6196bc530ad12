"""XLabs' dialect: double_blocks.0.processor.qkv_lora1.down.weight (1 is the picture's side, 2 the text's).

It has attention and the way out of single blocks, and nothing else; no alpha, so the scale is folded.
diffusers reads it, ComfyUI does not.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from flux_lora.adapter.kinds import LayerDelta, LoRA
from flux_lora.adapter.layouts.names import QKV
from flux_lora.adapter.layouts.parts import delta_from_tensors, fold_lora_scale
from flux_lora.adapter.layouts.qkv import fuse_qkv, split_qkv
from flux_lora.adapter.layouts.reading import FIX, refuse_keys
from flux_lora.adapter.layouts.spelling import cast_tensor, other_dialect_fix, refuse_kinds, refuse_modules
from flux_lora.adapter.tensors import Adapter
from flux_lora.errors import AdapterFileError

DIALECT = "xlabs"
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
COMFYUI = "diffusion_model."
"""Some tools put it before every key."""
KEY = re.compile(r"(?:diffusion_model\.)?((?:double|single)_blocks)\.\d{1,3}(\.processor\.\w+)\.(?:down|up)\.weight")
NUMBER = re.compile(r"(?<=blocks\.)\d+")


def to_xlabs(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """The adapter in this dialect; q, k and v side by side in one matrix."""
    refuse_kinds(adapter, DIALECT, ("LoRA",))
    places = {name: (NUMBER.sub("{}", name), NUMBER.search(name)) for name in adapter.deltas}
    lost = [name for name, (template, _) in places.items() if template not in HOLDERS]
    refuse_modules(DIALECT, lost, "no name for", fix=other_dialect_fix("diffusers"))
    members: dict[str, dict[str, LoRA]] = {}
    for name, (template, number) in places.items():
        assert number is not None, "every module of the table is in a block"
        members.setdefault(HOLDERS[template].format(number[0]), {})[name] = adapter.layers[name]
    tensors = {}
    for module, layers in members.items():
        layer = fold_lora_scale(_joined(module, layers))
        tensors[f"{module}.down.weight"] = cast_tensor(layer.down, dtype, module)
        tensors[f"{module}.up.weight"] = cast_tensor(layer.up, dtype, module)
    return tensors


def from_xlabs(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Adapter:
    """The adapter of a file in this dialect. Its metadata says nothing of scale."""
    del metadata
    refuse_keys("keys that XLabs has not,", [key for key in tensors if not is_xlabs(key)])
    grouped: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        module, part = key.removeprefix(COMFYUI).removesuffix(".weight").rsplit(".", 1)
        if part in grouped.setdefault(module, {}):
            raise AdapterFileError(f"the file has {module}.{part} with and without {COMFYUI}", fix=FIX)
        grouped[module][part] = tensor
    changes: dict[str, LayerDelta] = {}
    for module, parts in grouped.items():
        changes |= _parts(module, delta_from_tensors(module, parts))
    return Adapter(changes)


def is_xlabs(key: str) -> bool:
    """Whether a key is of this dialect."""
    match = KEY.fullmatch(key)
    return match is not None and f"{match[1]}.{{}}{match[2]}" in MODULES


def _names(module: str) -> tuple[str, ...]:
    number = NUMBER.search(module)
    assert number is not None, "every module of the table is in a block"
    return tuple(name.format(number[0]) for name in MODULES[NUMBER.sub("{}", module, count=1)])


def _joined(module: str, layers: Mapping[str, LoRA]) -> LoRA:
    names = _names(module)
    return (
        fuse_qkv(module, [layers.get(name) for name in names], QKV) if len(names) > 1 else next(iter(layers.values()))
    )


def _parts(module: str, change: LayerDelta) -> dict[str, LayerDelta]:
    names = _names(module)
    assert isinstance(change, LoRA), "a down and an up are a plain LoRA"
    parts = split_qkv(module, change, QKV) if len(names) > 1 else (change,)
    return {name: part for name, part in zip(names, parts, strict=True) if part is not None}
