"""FLUX.1's linear layers under diffusers' names and BFL's, and their shapes.

adapter/dialects/module_names.py says the same in another table, on purpose: files are written by that, proven by this,
so a slip in either is found. Nothing here may be taken from there. Importing this waits for no torch.
"""

from collections.abc import Collection, Iterator, Mapping

from flux_lora.models.fused_weight import HALVES_SWAPPED, FusedWeight

PIXELS_PER_LATENT = 8
"""Pixels per side of one latent pixel."""
PATCH = 2
"""Latent pixels per side of one token."""
DOUBLES, SINGLES = 19, 38
"""Blocks."""
WIDTH, MLP_RATIO, CHANNELS, T5_WIDTH, POOLED_WIDTH, TIME_CHANNELS = 3072, 4, 64, 4096, 768, 256
"""Features of the hidden states, of the MLP in widths, of a packed latent token, of T5's and CLIP's embeddings, and of
the sinusoidal timestep embedding."""

DOUBLE_BLOCK: Mapping[str, tuple[str, ...]] = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "img_attn.proj": ("attn.to_out.0",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "img_mod.lin": ("norm1.linear",),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "txt_attn.proj": ("attn.to_add_out",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "txt_mod.lin": ("norm1_context.linear",),
}
SINGLE_BLOCK: Mapping[str, tuple[str, ...]] = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation.lin": ("norm.linear",),
}
EMBEDDERS = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
}
FINAL = {
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}

CLIP_NAMES = tuple(
    f"text_model.encoder.layers.{number}.{part}"
    for number in range(12)
    for part in (*(f"self_attn.{name}_proj" for name in ("q", "k", "v", "out")), "mlp.fc1", "mlp.fc2")
)
T5_NAMES = tuple(
    f"encoder.block.{number}.layer.{part}"
    for number in range(24)
    for part in (
        *(f"0.SelfAttention.{projection}" for projection in "qkvo"),
        *(f"1.DenseReluDense.{linear}" for linear in ("wi_0", "wi_1", "wo")),
    )
)


def fused_weights(names: Collection[str] | None = None) -> dict[str, FusedWeight]:
    """BFL's linear layers by BFL's name, of a transformer that has these diffusers layers; all of FLUX.1's without."""
    return {
        bfl: weight for bfl, weight in _all_weights() if names is None or all(part in names for part in weight.parts)
    }


def _all_weights() -> Iterator[tuple[str, FusedWeight]]:
    for number in range(DOUBLES):
        for bfl, parts in DOUBLE_BLOCK.items():
            yield _weight(f"double_blocks.{number}.{bfl}", f"transformer_blocks.{number}.", parts)
    for number in range(SINGLES):
        for bfl, parts in SINGLE_BLOCK.items():
            yield _weight(f"single_blocks.{number}.{bfl}", f"single_transformer_blocks.{number}.", parts)
    for bfl, part in (EMBEDDERS | FINAL).items():
        yield _weight(bfl, "", (part,))


def _weight(bfl: str, block: str, parts: tuple[str, ...]) -> tuple[str, FusedWeight]:
    return bfl, FusedWeight(tuple(block + part for part in parts), fused=bfl, swaps=parts == (HALVES_SWAPPED,))


def flux1_shapes() -> dict[str, tuple[int, int]]:
    """FLUX.1-dev's linear layers: outputs and inputs by diffusers' name. schnell lacks the guidance embedder."""
    return {name: _shape(name) for _, weight in _all_weights() for name in weight.parts}


def _shape(name: str) -> tuple[int, int]:
    """Outputs and inputs of a layer by diffusers' name."""
    mlp = MLP_RATIO * WIDTH
    outside = {
        "x_embedder": (WIDTH, CHANNELS),
        "context_embedder": (WIDTH, T5_WIDTH),
        "time_text_embed.timestep_embedder.linear_1": (WIDTH, TIME_CHANNELS),
        "time_text_embed.text_embedder.linear_1": (WIDTH, POOLED_WIDTH),
        "time_text_embed.guidance_embedder.linear_1": (WIDTH, TIME_CHANNELS),
        "proj_out": (CHANNELS, WIDTH),
        "norm_out.linear": (2 * WIDTH, WIDTH),
    }
    inside = {
        "ff.net.0.proj": (mlp, WIDTH),
        "ff.net.2": (WIDTH, mlp),
        "ff_context.net.0.proj": (mlp, WIDTH),
        "ff_context.net.2": (WIDTH, mlp),
        "norm1.linear": (6 * WIDTH, WIDTH),
        "norm1_context.linear": (6 * WIDTH, WIDTH),
        "norm.linear": (3 * WIDTH, WIDTH),
        "proj_mlp": (mlp, WIDTH),
        "proj_out": (WIDTH, WIDTH + mlp),
    }
    within = name.partition("blocks.")[2].partition(".")[2]
    return outside.get(name) or inside.get(within, (WIDTH, WIDTH))


DOUBLE = r"transformer_blocks\.\d+\."
SINGLE = r"single_transformer_blocks\.\d+\."
ATTENTION = (
    rf"{DOUBLE}attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)",
    rf"{SINGLE}attn\.to_[qkv]",
)
MLP = (
    rf"{DOUBLE}ff(_context)?\.net\.(0\.proj|2)",
    rf"{SINGLE}(proj_mlp|proj_out)",  # a single block's proj_out is the way out of attention and MLP together
)
MODULATION = (
    rf"{DOUBLE}norm1(_context)?\.linear",
    rf"{SINGLE}norm\.linear",
)
LAYER_GROUPS: Mapping[str, str] = {
    "attention": "|".join(ATTENTION),
    "attention_mlp": "|".join(ATTENTION + MLP),
    "blocks_all": "|".join(ATTENTION + MLP + MODULATION),
}
"""adapter.targets -> pattern of whole names. PEFT matches bare names by suffix, so "proj_out" alone would also catch
the model's final layer, which no ComfyUI or kohya reader takes from a block's name."""
FIXED_WIDTHS = r"single_transformer_blocks\.\d+\.(attn\.to_[qkv]|proj_mlp)"
"""diffusers splits these out of fused modules at FLUX.1's own widths only."""
