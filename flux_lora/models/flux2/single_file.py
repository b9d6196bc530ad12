"""How a file with FLUX.2's transformer is known: klein's sizes and dev by their tensors."""

from collections.abc import Mapping
from typing import Any

from flux_lora.errors import ModelError
from flux_lora.models.flux2.layers import (
    DEV,
    HEAD,
    KLEIN_4B,
    KLEIN_9B,
    TEXT_LAYERS,
    flux2_shapes,
    fused_weights,
)
from flux_lora.models.single_file import DIFFUSERS_MARK, Layout, SingleFile, settings_of
from flux_lora.models.single_file import open_single_file as open_file
from flux_lora.models.weight_file import Sides, blocks_in

TOLD_BY = (
    DIFFUSERS_MARK,
    "context_embedder.weight",
    "single_stream_modulation.linear.weight",
    "transformer_blocks.0.attn.norm_q.weight",
)


RECIPES: Mapping[int, str] = {
    KLEIN_4B.text_width: "flux2_klein_4b",
    KLEIN_9B.text_width: "flux2_klein_9b",
    DEV.text_width: "flux2_dev",
}
"""Features of the text encoder's layers -> model= of the base."""


def open_single_file(path: str) -> SingleFile:
    """Its header. Raises ModelError where it holds no FLUX.2 transformer that can be read."""
    return open_file(path, LAYOUT)


def open_fitting_file(path: str, text_width: int) -> SingleFile:
    """The same of a transformer that reads what a base's text encoder writes. Raises ModelError where it does not."""
    single = open_single_file(path)
    read, written = int(settings_of(single)["joint_attention_dim"]), TEXT_LAYERS * text_width
    if read != written:
        recipe = RECIPES.get(read // TEXT_LAYERS, "")
        raise ModelError(
            f"{single.file} reads text of {read} features, and the base's text encoder writes {written}",
            fix=f"set model={recipe}, the size that the file is of" if recipe else "set model= to the file's own base",
        )
    return single


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
