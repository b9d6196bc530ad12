"""Module names of FLUX.2: diffusers', and those of Black Forest Labs (BFL), which ComfyUI uses too.

BFL's model fuses q, k and v of the double blocks: their rows are stacked. All else is one layer in both. Modulation is
shared by all blocks, so no layer of it is in a block.

models/flux2/layers.py says the same in another table, on purpose: files are written by this one and proven by that one,
so a slip in either is found. Nothing here may be taken from there.
"""

from collections.abc import Collection, Mapping

from flux_lora.adapter.dialects.flux3_names import is_flux3

NATIVE: Mapping[str, tuple[str, ...]] = {
    "double_blocks.{}.img_attn.qkv": tuple(f"transformer_blocks.{{}}.attn.to_{part}" for part in "qkv"),
    "double_blocks.{}.txt_attn.qkv": tuple(f"transformer_blocks.{{}}.attn.add_{part}_proj" for part in "qkv"),
    "double_blocks.{}.img_attn.proj": ("transformer_blocks.{}.attn.to_out.0",),
    "double_blocks.{}.txt_attn.proj": ("transformer_blocks.{}.attn.to_add_out",),
    "double_blocks.{}.img_mlp.0": ("transformer_blocks.{}.ff.linear_in",),
    "double_blocks.{}.img_mlp.2": ("transformer_blocks.{}.ff.linear_out",),
    "double_blocks.{}.txt_mlp.0": ("transformer_blocks.{}.ff_context.linear_in",),
    "double_blocks.{}.txt_mlp.2": ("transformer_blocks.{}.ff_context.linear_out",),
    "single_blocks.{}.linear1": ("single_transformer_blocks.{}.attn.to_qkv_mlp_proj",),
    "single_blocks.{}.linear2": ("single_transformer_blocks.{}.attn.to_out",),
    "img_in": ("x_embedder",),
    "txt_in": ("context_embedder",),
    "time_in.in_layer": ("time_guidance_embed.timestep_embedder.linear_1",),
    "time_in.out_layer": ("time_guidance_embed.timestep_embedder.linear_2",),
    "guidance_in.in_layer": ("time_guidance_embed.guidance_embedder.linear_1",),
    "guidance_in.out_layer": ("time_guidance_embed.guidance_embedder.linear_2",),
    "double_stream_modulation_img.lin": ("double_stream_modulation_img.linear",),
    "double_stream_modulation_txt.lin": ("double_stream_modulation_txt.linear",),
    "single_stream_modulation.lin": ("single_stream_modulation.linear",),
    "final_layer.linear": ("proj_out",),
    "final_layer.adaLN_modulation.1": ("norm_out.linear",),
}
"""BFL's module: diffusers' modules that are fused into it, top rows first. {} is the number of the block."""
DIFFUSERS: Mapping[str, str] = {part: native for native, parts in NATIVE.items() for part in parts}
"""diffusers' module: the BFL module that it is a part of."""
OWN = ("to_qkv_mlp_proj", ".linear_in", ".linear_out", ".attn.to_out", "_stream_modulation", "time_guidance_embed")
"""What names have that FLUX.1's have not: the end, or a part outside of the blocks."""


def is_flux2(modules: Collection[str]) -> bool:
    """Whether an adapter of these modules (by diffusers' names) is for FLUX.2. Attention of double blocks alone has the
    same names in FLUX.1, and is taken for that."""
    own = any(name.endswith(OWN[:4]) or any(mark in name for mark in OWN[4:]) for name in modules)
    return own and not is_flux3(modules)
