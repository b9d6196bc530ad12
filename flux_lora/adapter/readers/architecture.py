"""FLUX.1's linear layers under the two names that they go by: diffusers' and Black Forest Labs' (BFL).

layouts/names.py says the same in another table, on purpose: files are written by that one and proven by this one,
so a slip in either is found. Nothing here may be taken from there. Importing this waits for no torch.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

DOUBLES, SINGLES = 19, 38
WIDTH, MLP_RATIO, CHANNELS, T5_WIDTH, POOLED_WIDTH, TIME_CHANNELS = 3072, 4, 64, 4096, 768, 256

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
HALVES_SWAPPED = "norm_out.linear"
"""BFL keeps shift above scale in this weight, diffusers scale above shift."""

CLIP_NAMES = tuple(
    f"text_model.encoder.layers.{number}.{part}"
    for number in range(12)
    for part in (*(f"self_attn.{side}_proj" for side in ("q", "k", "v", "out")), "mlp.fc1", "mlp.fc2")
)
T5_WAYS = ("wi_0", "wi_1", "wo")
T5_NAMES = tuple(
    f"encoder.block.{number}.layer.{part}"
    for number in range(24)
    for part in (*(f"0.SelfAttention.{side}" for side in "qkvo"), *(f"1.DenseReluDense.{way}" for way in T5_WAYS))
)

Shapes = Mapping[str, tuple[int, int]]
"""Outputs and inputs of each linear layer, by diffusers' name."""


@dataclass(frozen=True)
class FusedWeight:
    """Where a change lands: one weight of BFL's model is one or several of diffusers', row after row."""

    parts: tuple[str, ...]
    """diffusers' names in the order of the rows."""
    fused: str = ""
    """The name under which a change stays that cannot be split: BFL's."""
    swaps: bool = False


def fused_weights(names: Collection[str]) -> dict[str, FusedWeight]:
    """BFL's linear layers by BFL's name, of a transformer that has these diffusers layers."""
    found = dict(_all_seats())
    return {bfl: seat for bfl, seat in found.items() if all(part in names for part in seat.parts)}


def _all_seats() -> Iterator[tuple[str, FusedWeight]]:
    for number in range(DOUBLES):
        for bfl, parts in DOUBLE_BLOCK.items():
            yield _seat(f"double_blocks.{number}.{bfl}", f"transformer_blocks.{number}.", parts)
    for number in range(SINGLES):
        for bfl, parts in SINGLE_BLOCK.items():
            yield _seat(f"single_blocks.{number}.{bfl}", f"single_transformer_blocks.{number}.", parts)
    for bfl, part in (EMBEDDERS | FINAL).items():
        yield _seat(bfl, "", (part,))


def _seat(bfl: str, block: str, parts: tuple[str, ...]) -> tuple[str, FusedWeight]:
    return bfl, FusedWeight(tuple(block + part for part in parts), fused=bfl, swaps=parts == (HALVES_SWAPPED,))


def flux1_shapes() -> dict[str, tuple[int, int]]:
    """FLUX.1-dev's linear layers. schnell lacks the guidance embedder."""
    return {name: _shape(name) for _, seat in _all_seats() for name in seat.parts}


def _shape(name: str) -> tuple[int, int]:
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
