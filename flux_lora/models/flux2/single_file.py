"""How a file with FLUX.2's transformer is known: klein's sizes and dev by their tensors."""

from collections.abc import Mapping
from typing import Any

from flux_lora.models.flux2.layers import DEV, HEAD, flux2_shapes, fused_weights
from flux_lora.models.single_file import DIFFUSERS_MARK, Layout, SingleFile
from flux_lora.models.single_file import open_single_file as open_file
from flux_lora.models.weight_file import Sides, blocks_in

TOLD_BY = (
    DIFFUSERS_MARK,
    "context_embedder.weight",
    "single_stream_modulation.linear.weight",
    "transformer_blocks.0.attn.norm_q.weight",
)


def open_single_file(path: str) -> SingleFile:
    """Its header. Raises ModelError where it holds no FLUX.2 transformer that can be read."""
    return open_file(path, LAYOUT)


def _settings(shapes: Sides) -> Mapping[str, Any]:
    width, channels = shapes[DIFFUSERS_MARK]
    head = shapes["transformer_blocks.0.attn.norm_q.weight"][0]
    if head != HEAD:
        raise ValueError(f"has heads of {head}, FLUX.2 of {HEAD}, and no config.json beside it")
    return {
        "in_channels": channels,
        "num_layers": blocks_in(shapes, "transformer_blocks."),
        "num_single_layers": blocks_in(shapes, "single_transformer_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": width // head,
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "guidance_embeds": "time_guidance_embed.guidance_embedder.linear_1.weight" in shapes,
    }


LAYOUT = Layout(
    model="FLUX.2",
    config_class="Flux2Transformer2DModel",
    fused=fused_weights(flux2_shapes(DEV)),
    told_by=TOLD_BY,
    settings=_settings,
)
