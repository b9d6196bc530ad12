"""How a file with FLUX.1's transformer is known: dev and schnell, Krea and other derivatives, by their tensors."""

from collections.abc import Mapping
from typing import Any

from flux_lora.models.flux1.layers import CHANNELS, fused_weights
from flux_lora.models.single_file import DIFFUSERS_MARK, Layout, SingleFile
from flux_lora.models.single_file import open_single_file as open_file
from flux_lora.models.weight_file import Sides, blocks_in

TOLD_BY = (
    DIFFUSERS_MARK,
    "context_embedder.weight",
    "time_text_embed.text_embedder.linear_1.weight",
    "transformer_blocks.0.attn.norm_q.weight",
)
AXES: Mapping[int, tuple[int, ...]] = {128: (16, 56, 56)}
"""Of the positions, by width of a head. Another one's stand in a config.json beside the file."""


def open_single_file(path: str) -> SingleFile:
    """Its header. Raises ModelError where it holds no FLUX.1 transformer that can be read."""
    return open_file(path, LAYOUT)


def _settings(shapes: Sides) -> Mapping[str, Any]:
    width, channels = shapes[DIFFUSERS_MARK]
    if channels != CHANNELS:
        raise ValueError(f"takes {channels} channels where FLUX.1 has {CHANNELS}: a model for filling or control")
    head = shapes["transformer_blocks.0.attn.norm_q.weight"][0]
    if head not in AXES:
        raise ValueError(f"has heads of {head}, FLUX.1 of 128, and no config.json beside it")
    return {
        "in_channels": channels,
        "num_layers": blocks_in(shapes, "transformer_blocks."),
        "num_single_layers": blocks_in(shapes, "single_transformer_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "pooled_projection_dim": shapes["time_text_embed.text_embedder.linear_1.weight"][1],
        "guidance_embeds": "time_text_embed.guidance_embedder.linear_1.weight" in shapes,
        "axes_dims_rope": AXES[head],
    }


LAYOUT = Layout(
    model="FLUX.1",
    config_class="FluxTransformer2DModel",
    fused=fused_weights(),
    told_by=TOLD_BY,
    settings=_settings,
)
