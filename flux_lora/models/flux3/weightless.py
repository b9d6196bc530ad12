"""FLUX.3 on the meta device: its parts as their config.json has them, or as the released ones, without a number.

The base need not be on this machine: the sizes are those of black-forest-labs/flux-3-image-klein-base and
Qwen/Qwen3-VL-4B-Instruct.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from diffusers import AutoencoderKLFlux2
from transformers import Qwen3VLTextModel

from flux_lora.models.family import ModelSource, PromptEmbeds, Weightless
from flux_lora.models.flux2.latents import decode_latents, latent_distribution
from flux_lora.models.flux3.diffusers_classes import Flux3Transformer2DModel
from flux_lora.models.flux3.layers import HEAD, KLEIN, TEXT_LAYERS
from flux_lora.models.flux3.single_file import open_single_file
from flux_lora.models.flux3.text import of_used_layers
from flux_lora.models.pipeline_folder import part_settings
from flux_lora.models.single_file import settings_of

Settings = Mapping[str, Any]
TEXT: Settings = {
    "vocab_size": 151936,
    "hidden_size": KLEIN.text_width,
    "intermediate_size": KLEIN.text_hidden,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": HEAD,
}
"""Qwen3-VL's language model."""


def weightless_transformer(source: ModelSource | None = None, *, flow_map: bool = False) -> Flux3Transformer2DModel:
    """The transformer of a base, the released one's without one: every module that a file can name, and no memory."""
    if source and source.transformer:
        return transformer_on_meta(settings_of(open_single_file(source.transformer)))
    usual = {"flow_map": flow_map}
    return transformer_on_meta(part_settings(source.path, "transformer", usual) if source else usual)


def transformer_on_meta(settings: Settings) -> Flux3Transformer2DModel:
    """As its config.json has it, without weights. diffusers' defaults are those of klein base."""
    with torch.device("meta"):
        made = Flux3Transformer2DModel.from_config(dict(settings))
    assert isinstance(made, Flux3Transformer2DModel), "a pair is returned only when asked for"
    return made.requires_grad_(False)


def weightless_base(source: ModelSource, *, flow_map: bool = False) -> Weightless:
    """All parts of a base that take memory. The VAE computes in float32, and so does its decoder here.

    Captions are counted at the longest window there may be: `source.max_sequence_length`.
    """
    settings = part_settings(source.path, "text_encoder", {"text_config": TEXT})["text_config"]
    config = of_used_layers(settings)
    tokens = source.max_sequence_length
    with torch.device("meta"):
        vae = cast(AutoencoderKLFlux2, AutoencoderKLFlux2.from_config(dict(part_settings(source.path, "vae", {}))))
        text = Qwen3VLTextModel(config)
        embeds = {"qwen": torch.empty(1, tokens, len(TEXT_LAYERS) * config.hidden_size)}
        words = torch.zeros(1, tokens, dtype=torch.long)
        mask = torch.ones(1, 1, tokens, tokens, dtype=torch.bool)
    for part in (vae, text):
        part.requires_grad_(False)
    transformer = weightless_transformer(source, flow_map=flow_map)
    return Weightless(
        transformer=transformer,
        vae=vae,
        text_encoders=(text,),
        prompt_embeds=PromptEmbeds(embeds),
        latent_channels=int(transformer.config["in_channels"]),
        encode_image=lambda pixels: latent_distribution(vae, pixels),
        decode_latents=lambda latents: decode_latents(vae, latents),
        encode_caption=torch.no_grad()(lambda: text(words, attention_mask=mask, position_ids=words, use_cache=False)),
    )
