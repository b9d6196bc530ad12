"""Module names of FLUX.3: diffusers', and those of Black Forest Labs (BFL). No module is fused in either.

BFL's names of the joint blocks begin as FLUX.1's single blocks do, and diffusers' of their q, k and v are the same.

models/flux3/layers.py says the same in another table, on purpose: files are written by this one and proven by that one,
so a slip in either is found. Nothing here may be taken from there.
"""

import re
from collections.abc import Collection, Mapping

IN_BLOCK: Mapping[str, str] = {
    "q_proj": "attn.to_q",
    "k_proj": "attn.to_k",
    "v_proj": "attn.to_v",
    "attn_out": "attn.to_out.0",
    "mlp_in": "ff.linear_in",
    "mlp_out": "ff.linear_out",
}
BLOCKS: Mapping[str, str] = {
    "content_mode_blocks.image.{}": "mode_blocks.image.{}",
    "content_mode_blocks.image_cond.{}": "mode_blocks.image_cond.{}",
    "txt_mode_blocks.{}": "txt_mode_blocks.{}",
    "single_blocks.{}": "single_transformer_blocks.{}",
}
OUTSIDE: Mapping[str, str] = {
    "emb_in.image": "x_embedders.image",
    "emb_in.image_cond": "x_embedders.image_cond",
    "txt_in": "context_embedder",
    "time_in.in_layer": "timestep_embedder.linear_1",
    "time_in.out_layer": "timestep_embedder.linear_2",
    "ref_time_in.in_layer": "target_timestep_embedder.linear_1",
    "ref_time_in.out_layer": "target_timestep_embedder.linear_2",
    "early_stream_modulations.image.lin": "early_stream_modulations.image.linear",
    "early_stream_modulations.image_cond.lin": "early_stream_modulations.image_cond.linear",
    "early_stream_modulations.txt.lin": "early_stream_modulations.txt.linear",
    "single_stream_modulations.image.lin": "single_stream_modulations.image.linear",
    "single_stream_modulations.image_cond.lin": "single_stream_modulations.image_cond.linear",
    "single_stream_modulations.txt.lin": "single_stream_modulations.txt.linear",
    "final_layer.image.linear": "proj_out",
    "final_layer.image.adaLN_modulation.1": "norm_out.linear",
}
SWAPPED = "final_layer.image.adaLN_modulation.1"
"""Its halves change places."""
NATIVE: Mapping[str, tuple[str, ...]] = {
    **{f"{theirs}.{bfl}": (f"{ours}.{name}",) for theirs, ours in BLOCKS.items() for bfl, name in IN_BLOCK.items()},
    **{bfl: (name,) for bfl, name in OUTSIDE.items()},
}
"""BFL's module: diffusers' module, alone in it. {} is the number of the block."""
DIFFUSERS: Mapping[str, str] = {name: bfl for bfl, (name,) in NATIVE.items()}
"""diffusers' module: the BFL module that it is."""
OWN = re.compile(
    r"(content_|txt_)?mode_blocks\..+|x_embedders\..+|emb_in\..+|(early|single)_stream_modulations\..+"
    r"|(target_)?timestep_embedder\..+|ref_time_in\..+|final_layer\.image\..+"
    r"|single_transformer_blocks\.\d+\.(attn\.to_out\.0|ff\.linear_(in|out))"
    r"|single_blocks\.\d+\.([qkv]_proj|attn_out|mlp_(in|out))"
)
"""Names, diffusers' or BFL's, that no other FLUX has."""
IN_BLOCKS = r"(mode_blocks\.image(_cond)?|txt_mode_blocks|single_transformer_blocks)\.\d+\..+"
"""Modules of blocks, by diffusers' names: all of which programs know BFL's names."""


def is_flux3(modules: Collection[str]) -> bool:
    """Whether an adapter of these modules (by either name) is for FLUX.3. q, k and v of the joint blocks alone have the
    same names in FLUX.1, and are taken for that."""
    return any(OWN.fullmatch(name) for name in modules)
