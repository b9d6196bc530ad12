"""How a file with FLUX.3 klein's transformer is known, and whether it is the distilled one, by its tensors."""

from collections.abc import Mapping
from typing import Any

from flux_lora.models.flux3.layers import HEAD, KLEIN, LISTS, Size, bfl_weights, flux3_shapes
from flux_lora.models.single_file import Layout, SingleFile, settings_of
from flux_lora.models.single_file import open_single_file as open_file
from flux_lora.models.weight_file import Sides, blocks_in

FIRST = "x_embedders.image.weight"
NORM = "single_transformer_blocks.0.attn.norm_q.weight"
TOLD_BY = (FIRST, "x_embedders.image_cond.weight", "context_embedder.weight", "timestep_embedder.linear_1.weight", NORM)
MOST = Size(own=16, joint=64, width=KLEIN.width, text_width=KLEIN.text_width, text_hidden=KLEIN.text_hidden)
"""More blocks than any has: names of layers are looked up among theirs."""
NORMS: Mapping[str, str] = {
    f"{theirs}.{number}.norm.{bfl}_norm.scale": f"{ours}.{number}.attn.norm_{name}.weight"
    for theirs, ours in LISTS.items()
    for number in range(MOST.joint)
    for bfl, name in (("query", "q"), ("key", "k"))
}


def open_single_file(path: str) -> SingleFile:
    """Its header. Raises ModelError where it holds no FLUX.3 transformer that can be read."""
    return open_file(path, LAYOUT)


def is_flow_map(path: str) -> bool:
    """Whether the file holds the distilled transformer, which is also told where a step goes."""
    return bool(settings_of(open_single_file(path))["flow_map"])


def _settings(shapes: Sides) -> Mapping[str, Any]:
    width, channels = shapes[FIRST]
    head = shapes[NORM][0]
    if head != HEAD:
        raise ValueError(f"has heads of {head}, FLUX.3 of {HEAD}, and no config.json beside it")
    return {
        "in_channels": channels,
        "cond_in_channels": shapes["x_embedders.image_cond.weight"][1],
        "num_layers": blocks_in(shapes, "txt_mode_blocks."),
        "num_single_layers": blocks_in(shapes, "single_transformer_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "timestep_channels": shapes["timestep_embedder.linear_1.weight"][1],
        "flow_map": "target_timestep_embedder.linear_1.weight" in shapes,
    }


LAYOUT = Layout(
    model="FLUX.3 klein",
    config_class="Flux3Transformer2DModel",
    marks=("emb_in.image.weight", FIRST),
    fused=bfl_weights(flux3_shapes(MOST, flow_map=True)),
    norms=NORMS,
    left_out=("repa_projectors.",),
    told_by=TOLD_BY,
    settings=_settings,
)
