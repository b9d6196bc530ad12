"""FLUX.2's linear layers under diffusers' names and BFL's, and their shapes, by size.

adapter/dialects/flux2_names.py says the same in another table, on purpose: files are written by that, proven by this,
so a slip in either is found. Nothing here may be taken from there. Importing this waits for no torch.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from flux_lora.models.fused_weight import HALVES_SWAPPED, FusedWeight

PIXELS_PER_LATENT = 16
"""Pixels per side of one latent pixel: the VAE's eighth, and patches of 2 x 2 of those."""
MLP_RATIO, CHANNELS, TIME_CHANNELS = 3, 128, 256
"""Features of the MLP in widths, of a latent pixel, and of the sinusoidal timestep embedding."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """What differs between the sizes of FLUX.2."""

    doubles: int
    """Blocks that keep text and image apart."""
    singles: int
    """Blocks that do not."""
    width: int
    """Features of the hidden states, in heads of 128."""
    text_width: int
    """Features of the text encoder's layers."""
    text_hidden: int
    """Features inside of the text encoder's MLP."""
    guidance_embeds: bool = False
    """Whether guidance is embedded, beside the timestep."""


KLEIN_4B = Size(doubles=5, singles=20, width=3072, text_width=2560, text_hidden=9728)
KLEIN_9B = Size(doubles=8, singles=24, width=4096, text_width=4096, text_hidden=12288)
DEV = Size(doubles=8, singles=48, width=6144, text_width=5120, text_hidden=32768, guidance_embeds=True)
SIZES: Mapping[str, Size] = {"klein 4B": KLEIN_4B, "klein 9B": KLEIN_9B, "dev": DEV}
HEAD = 128
TEXT_LAYERS = 3
"""Outputs of so many of the text encoder's layers, side by side, are the prompt embeds."""

DOUBLE_BLOCK: Mapping[str, tuple[str, ...]] = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "img_attn.proj": ("attn.to_out.0",),
    "img_mlp.0": ("ff.linear_in",),
    "img_mlp.2": ("ff.linear_out",),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "txt_attn.proj": ("attn.to_add_out",),
    "txt_mlp.0": ("ff_context.linear_in",),
    "txt_mlp.2": ("ff_context.linear_out",),
}
"""BFL's layer: diffusers' that are stacked in it, top rows first."""
SINGLE_BLOCK: Mapping[str, tuple[str, ...]] = {
    "linear1": ("attn.to_qkv_mlp_proj",),
    "linear2": ("attn.to_out",),
}
OUTSIDE: Mapping[str, str] = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_guidance_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_guidance_embed.timestep_embedder.linear_2",
    "double_stream_modulation_img.lin": "double_stream_modulation_img.linear",
    "double_stream_modulation_txt.lin": "double_stream_modulation_txt.linear",
    "single_stream_modulation.lin": "single_stream_modulation.linear",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}
GUIDANCE: Mapping[str, str] = {
    "guidance_in.in_layer": "time_guidance_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_guidance_embed.guidance_embedder.linear_2",
}
"""Outside of the blocks too, where guidance is embedded."""


def has_flux2_layers(names: Collection[str]) -> bool:
    """Whether a transformer with these linear layers (by diffusers' names) is a FLUX.2."""
    return any(name.endswith("attn.to_qkv_mlp_proj") for name in names)


def fused_weights(names: Collection[str]) -> dict[str, FusedWeight]:
    """BFL's linear layers by BFL's name, of a transformer that has these diffusers layers."""
    blocks = {int(name.split(".")[1]) for name in names if "blocks." in name}
    places: dict[str, tuple[str, ...]] = {bfl: (part,) for bfl, part in {**OUTSIDE, **GUIDANCE}.items()}
    for number in sorted(blocks):
        for ours, theirs, layers in (
            ("transformer_blocks", "double_blocks", DOUBLE_BLOCK),
            ("single_transformer_blocks", "single_blocks", SINGLE_BLOCK),
        ):
            for bfl, parts in layers.items():
                places[f"{theirs}.{number}.{bfl}"] = tuple(f"{ours}.{number}.{part}" for part in parts)
    return {
        bfl: FusedWeight(parts, fused=bfl, swaps=parts == (HALVES_SWAPPED,))
        for bfl, parts in places.items()
        if all(part in names for part in parts)
    }


def flux2_shapes(size: Size) -> dict[str, tuple[int, int]]:
    """The linear layers of a size: outputs and inputs by diffusers' name."""
    names = [*_in_blocks("transformer_blocks", size.doubles, DOUBLE_BLOCK), *OUTSIDE.values()]
    names += _in_blocks("single_transformer_blocks", size.singles, SINGLE_BLOCK)
    names += GUIDANCE.values() if size.guidance_embeds else ()
    return {name: _shape(name, size) for name in names}


def _in_blocks(blocks: str, count: int, layers: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    for number in range(count):
        for parts in layers.values():
            yield from (f"{blocks}.{number}.{part}" for part in parts)


def _shape(name: str, size: Size) -> tuple[int, int]:
    """Outputs and inputs of a layer by diffusers' name. The MLPs' gates are rows of their first layers (SwiGLU)."""
    width, mlp = size.width, MLP_RATIO * size.width
    outside = {
        "x_embedder": (width, CHANNELS),
        "context_embedder": (width, TEXT_LAYERS * size.text_width),
        "time_guidance_embed.timestep_embedder.linear_1": (width, TIME_CHANNELS),
        "time_guidance_embed.guidance_embedder.linear_1": (width, TIME_CHANNELS),
        "double_stream_modulation_img.linear": (6 * width, width),
        "double_stream_modulation_txt.linear": (6 * width, width),
        "single_stream_modulation.linear": (3 * width, width),
        "norm_out.linear": (2 * width, width),
        "proj_out": (CHANNELS, width),
    }
    inside = {
        "ff.linear_in": (2 * mlp, width),
        "ff.linear_out": (width, mlp),
        "ff_context.linear_in": (2 * mlp, width),
        "ff_context.linear_out": (width, mlp),
        "attn.to_qkv_mlp_proj": (3 * width + 2 * mlp, width),
        "attn.to_out": (width, width + mlp),
    }
    within = name.partition("blocks.")[2].partition(".")[2]
    return outside.get(name) or inside.get(within, (width, width))


DOUBLE = r"transformer_blocks\.\d+\."
SINGLE = r"single_transformer_blocks\.\d+\."
ATTENTION = (
    rf"{DOUBLE}attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)",
    rf"{SINGLE}attn\.(to_qkv_mlp_proj|to_out)",  # attention and MLP of a single block share both of its layers
)
MLP = (rf"{DOUBLE}ff(_context)?\.linear_(in|out)",)
MODULATION = r"(double_stream_modulation_(img|txt)|single_stream_modulation)\.linear"
"""Three layers that all blocks share. diffusers' names of them are read by diffusers alone."""
LAYER_GROUPS: Mapping[str, str] = {
    "attention": "|".join(ATTENTION),
    "attention_mlp": "|".join(ATTENTION + MLP),
    "blocks_all": "|".join(ATTENTION + MLP),
}
"""adapter.targets -> pattern of whole names."""
