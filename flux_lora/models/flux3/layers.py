"""FLUX.3's linear layers under diffusers' names and BFL's, and their shapes.

adapter/dialects/flux3_names.py says the same in another table, on purpose: files are written by that, proven by this,
so a slip in either is found. Nothing here may be taken from there. Importing this waits for no torch.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from flux_lora.models.fused_weight import HALVES_SWAPPED, FusedWeight

PIXELS_PER_LATENT = 16
"""Pixels per side of one latent pixel: the VAE is FLUX.2's."""
MLP_RATIO, CHANNELS, TIME_CHANNELS, HEAD = 3, 128, 256, 128
"""Features of the MLP in widths, of a latent pixel, of the sinusoidal timestep embedding, of a head."""
TEXT_LAYERS = (4, 8, 12, 16, 20, 24, 28, 32)
"""Of the text encoder: the outputs of these layers, side by side, are the prompt embeds."""
SHIFT = 6.93
"""Of the sigmas, for every size and number of steps."""
MODES = ("image", "image_cond")
"""Kinds of image tokens, each with blocks and heads of its own: what is drawn, and references."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Of a FLUX.3."""

    own: int
    """Blocks of each kind of tokens, which see no other kind."""
    joint: int
    """Blocks in which all tokens see each other."""
    width: int
    """Features of the hidden states."""
    text_width: int
    """Features of the text encoder's layers."""
    text_hidden: int
    """Features inside of the text encoder's MLP."""


KLEIN = Size(own=5, joint=28, width=3072, text_width=2560, text_hidden=9728)
BLOCK: Mapping[str, str] = {
    "q_proj": "attn.to_q",
    "k_proj": "attn.to_k",
    "v_proj": "attn.to_v",
    "attn_out": "attn.to_out.0",
    "mlp_in": "ff.linear_in",
    "mlp_out": "ff.linear_out",
}
"""BFL's layer -> diffusers', in every block: q, k and v are apart in both."""
LISTS: Mapping[str, str] = {
    "content_mode_blocks.image": "mode_blocks.image",
    "content_mode_blocks.image_cond": "mode_blocks.image_cond",
    "txt_mode_blocks": "txt_mode_blocks",
    "single_blocks": "single_transformer_blocks",
}
"""BFL's list of blocks -> diffusers'."""
OUTSIDE: Mapping[str, str] = {
    "emb_in.image": "x_embedders.image",
    "emb_in.image_cond": "x_embedders.image_cond",
    "txt_in": "context_embedder",
    "time_in.in_layer": "timestep_embedder.linear_1",
    "time_in.out_layer": "timestep_embedder.linear_2",
    **{
        f"{part}_stream_modulations.{mode}.lin": f"{part}_stream_modulations.{mode}.linear"
        for part in ("early", "single")
        for mode in (*MODES, "txt")
    },
    "final_layer.image.linear": "proj_out",
    "final_layer.image.adaLN_modulation.1": "norm_out.linear",
}
FLOW_MAP: Mapping[str, str] = {
    "ref_time_in.in_layer": "target_timestep_embedder.linear_1",
    "ref_time_in.out_layer": "target_timestep_embedder.linear_2",
}
"""What the distilled one has besides: an embedder of the sigma that a step jumps to."""


def has_flux3_layers(names: Collection[str]) -> bool:
    """Whether a transformer with these linear layers (by diffusers' names) is a FLUX.3."""
    return any(name.startswith("txt_mode_blocks.") for name in names)


def bfl_weights(names: Collection[str]) -> dict[str, FusedWeight]:
    """BFL's linear layers by BFL's name, of a transformer that has these diffusers layers. None is fused."""
    places = {**OUTSIDE, **FLOW_MAP}
    for theirs, ours in LISTS.items():
        within = [name.removeprefix(f"{ours}.") for name in names if name.startswith(f"{ours}.")]
        for number in {name.partition(".")[0] for name in within}:
            places |= {f"{theirs}.{number}.{bfl}": f"{ours}.{number}.{part}" for bfl, part in BLOCK.items()}
    return {
        bfl: FusedWeight((name,), fused=bfl, swaps=name == HALVES_SWAPPED)
        for bfl, name in places.items()
        if name in names
    }


def flux3_shapes(size: Size = KLEIN, *, flow_map: bool = False) -> dict[str, tuple[int, int]]:
    """The linear layers: outputs and inputs by diffusers' name."""
    names = [*OUTSIDE.values(), *(FLOW_MAP.values() if flow_map else ())]
    for blocks in LISTS.values():
        count = size.joint if blocks == "single_transformer_blocks" else size.own
        names += [f"{blocks}.{number}.{part}" for number in range(count) for part in BLOCK.values()]
    return {name: _shape(name, size) for name in names}


def _shape(name: str, size: Size) -> tuple[int, int]:
    """The MLPs' gates are rows of their first layers (SwiGLU)."""
    width, mlp = size.width, MLP_RATIO * size.width
    if name.startswith("x_embedders."):
        return width, CHANNELS
    ends = {
        "context_embedder": (width, len(TEXT_LAYERS) * size.text_width),
        "timestep_embedder.linear_1": (width, TIME_CHANNELS),
        "norm_out.linear": (2 * width, width),
        "proj_out": (CHANNELS, width),
        "_stream_modulations": (3 * width, width),
        "ff.linear_in": (2 * mlp, width),
        "ff.linear_out": (width, mlp),
    }
    return next((shape for part, shape in ends.items() if part in name), (width, width))


BLOCKS = r"(mode_blocks\.image(_cond)?|txt_mode_blocks|single_transformer_blocks)\.\d+\."
ATTENTION = rf"{BLOCKS}attn\.(to_[qkv]|to_out\.0)"
MLP = rf"{BLOCKS}ff\.linear_(in|out)"
UNUSED = r"(mode_blocks|x_embedders|(early|single)_stream_modulations)\.image_cond(\..+)?"
"""What only references pass through: an eighth of the weights."""
MODULATION = r"(early|single)_stream_modulations\.(image|txt)\.linear"
"""Shared by the blocks, and all that depends on sigma; references have their own."""
LAYER_GROUPS: Mapping[str, str] = {
    "attention": ATTENTION,
    "attention_mlp": f"{ATTENTION}|{MLP}",
    "blocks_all": f"{ATTENTION}|{MLP}",
}
"""adapter.targets -> pattern of whole names."""
