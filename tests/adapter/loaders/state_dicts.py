"""One small adapter in every spelling of the field, written by hand from shared knowledge of the formats, not by our
writers: a double and a single block and all layers outside the blocks, width 8."""

import json
from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from flux_lora.adapter.layer_types import LoRA

H = 8
RANK = 2
ALPHA = 1.0
OUTSIDE = {
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
}
ATTENTION = {
    "transformer_blocks.0.attn.to_q+to_k+to_v": "double_blocks.0.img_attn.qkv",
    "transformer_blocks.0.attn.add_q_proj+add_k_proj+add_v_proj": "double_blocks.0.txt_attn.qkv",
    "transformer_blocks.0.attn.to_out.0": "double_blocks.0.img_attn.proj",
    "transformer_blocks.0.attn.to_add_out": "double_blocks.0.txt_attn.proj",
}
BLOCKS = ATTENTION | {
    "transformer_blocks.0.ff.net.0.proj": "double_blocks.0.img_mlp.0",
    "transformer_blocks.0.ff.net.2": "double_blocks.0.img_mlp.2",
    "transformer_blocks.0.ff_context.net.0.proj": "double_blocks.0.txt_mlp.0",
    "transformer_blocks.0.ff_context.net.2": "double_blocks.0.txt_mlp.2",
    "transformer_blocks.0.norm1.linear": "double_blocks.0.img_mod.lin",
    "transformer_blocks.0.norm1_context.linear": "double_blocks.0.txt_mod.lin",
    "single_transformer_blocks.0.proj_out": "single_blocks.0.linear2",
    "single_transformer_blocks.0.norm.linear": "single_blocks.0.modulation.lin",
}
LINEAR1 = tuple(f"single_transformer_blocks.0.{part}" for part in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"))
Layers = dict[str, LoRA]
Tensors = dict[str, Tensor]


def parts_of(name: str) -> list[str]:
    """`a.to_q+to_k` is a.to_q and a.to_k."""
    first, *rest = name.split("+")
    return [first, *(f"{first.rpartition('.')[0]}.{each}" for each in rest)]


def rows(name: str) -> int:
    return 4 * H if name.endswith(("proj_mlp", "net.0.proj")) else 2 * H if name == "norm_out.linear" else H


def layers_of(table: Mapping[str, str], *, rank: int = RANK, alpha: float = ALPHA) -> Layers:
    """A trained layer for each of diffusers' names in the table."""
    generator = Generator().manual_seed(0)
    names = [part for name in table for part in parts_of(name)]
    if table is not OUTSIDE and table is not ATTENTION:
        names += LINEAR1
    return {
        name: LoRA(torch.randn(rank, H, generator=generator), torch.randn(rows(name), rank, generator=generator), alpha)
        for name in names
    }


def everything() -> Layers:
    return layers_of(BLOCKS | OUTSIDE)


def blocks() -> Layers:
    return layers_of(BLOCKS)


def fused(parts: list[LoRA]) -> LoRA:
    """[down_q; down_k; down_v] and up_q, up_k, up_v along the diagonal; alpha n times as much."""
    if len(parts) == 1:
        return parts[0]
    down = torch.cat([part.down for part in parts])
    return LoRA(down, torch.block_diag(*(part.up for part in parts)), sum(part.alpha for part in parts))


def in_bfl_names(layers: Layers) -> Layers:
    parts_by_name = {bfl: parts_of(name) for name, bfl in (BLOCKS | OUTSIDE).items()}
    parts_by_name["single_blocks.0.linear1"] = list(LINEAR1)
    found = {bfl: fused([layers[part] for part in parts]) for bfl, parts in parts_by_name.items() if parts[0] in layers}
    swapped = found.get("final_layer.adaLN_modulation.1")
    if swapped is not None:
        up = torch.cat([swapped.up[H:], swapped.up[:H]])
        found["final_layer.adaLN_modulation.1"] = LoRA(swapped.down, up, swapped.alpha)
    return found


def written(layers: Layers, name: Callable[[str], str], spelled: str, *, alpha: bool) -> Tensors:
    """Tensors with this naming, `spelled` AB or down up."""
    below, above = (".lora_A.weight", ".lora_B.weight") if spelled == "AB" else (".lora_down.weight", ".lora_up.weight")
    tensors = {}
    for key, layer in layers.items():
        tensors |= {f"{name(key)}{below}": layer.down, f"{name(key)}{above}": layer.up}
        if alpha:
            tensors[f"{name(key)}.alpha"] = torch.tensor(layer.alpha)
    return tensors


def folded(layers: Layers) -> Layers:
    return {name: LoRA(each.down, each.up * each.scale, float(each.rank)) for name, each in layers.items()}


def kohya_name(bfl: str) -> str:
    return f"lora_unet_{bfl.replace('.', '_')}"


def diffusers(layers: Layers) -> Tensors:
    return written(folded(layers), "transformer.{}".format, "AB", alpha=False)


def kohya(layers: Layers, *, alpha: bool = True) -> Tensors:
    return written(in_bfl_names(layers), kohya_name, "down up", alpha=alpha)


def told_in_metadata(*, rank: int = RANK, alpha: float = ALPHA) -> dict[str, str]:
    return {"lora_adapter_metadata": json.dumps({"transformer.r": rank, "transformer.lora_alpha": alpha})}


def xlabs(layers: Layers) -> Tensors:
    names = {
        "double_blocks.0.img_attn.qkv": "double_blocks.0.processor.qkv_lora1",
        "double_blocks.0.txt_attn.qkv": "double_blocks.0.processor.qkv_lora2",
        "double_blocks.0.img_attn.proj": "double_blocks.0.processor.proj_lora1",
        "double_blocks.0.txt_attn.proj": "double_blocks.0.processor.proj_lora2",
        "single_blocks.0.linear2": "single_blocks.0.processor.proj_lora",
    }
    tensors = {}
    for bfl, layer in in_bfl_names(folded(layers)).items():
        if bfl in names:
            tensors |= {f"{names[bfl]}.down.weight": layer.down, f"{names[bfl]}.up.weight": layer.up}
    qkv = fused([folded(layers)[name] for name in LINEAR1[:3]])
    name = "single_blocks.0.processor.qkv_lora"
    return tensors | {f"{name}.down.weight": qkv.down, f"{name}.up.weight": qkv.up}
