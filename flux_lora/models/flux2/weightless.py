"""FLUX.2 on the meta device: its parts as their config.json has them, or as the released size's, without a number.

The base need not be on this machine: the sizes of the parts are those of the released files (black-forest-labs/
FLUX.2-klein-base-4B and -9B with Qwen/Qwen3-4B and -8B, FLUX.2-dev with mistralai/Mistral-Small-3.2-24B-Instruct-2506).
"""

from typing import cast

import torch
from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel

from flux_lora.models.family import ModelSource, PromptEmbeds, Weightless
from flux_lora.models.flux2.latents import decode_latents, latent_distribution
from flux_lora.models.flux2.layers import HEAD, TEXT_LAYERS, Size
from flux_lora.models.flux2.part_files import Settings, text_of, transformer_of, vae_of
from flux_lora.models.flux2.text_models import TextModel


def transformer_settings(size: Size) -> Settings:
    """What differs from diffusers' defaults, which are FLUX.2-dev's."""
    return {
        "num_layers": size.doubles,
        "num_single_layers": size.singles,
        "num_attention_heads": size.width // HEAD,
        "joint_attention_dim": TEXT_LAYERS * size.text_width,
        "guidance_embeds": size.guidance_embeds,
    }


def check_files(size: Size, text_model: TextModel, source: ModelSource) -> None:
    """Open the header of every file that is named. Raises ModelError where one is not what it is given as."""
    text_of(source, text_model.settings(size), transformer_of(source, transformer_settings(size)))
    vae_of(source)


def weightless_transformer(size: Size, source: ModelSource | None = None) -> Flux2Transformer2DModel:
    """The transformer of a base, the released one's without one: every module that a file can name, and no memory."""
    usual = transformer_settings(size)
    return transformer_on_meta(transformer_of(source, usual) if source else usual).requires_grad_(False)


def transformer_on_meta(settings: Settings) -> Flux2Transformer2DModel:
    """As its config.json has it, without weights."""
    with torch.device("meta"):
        made = Flux2Transformer2DModel.from_config(dict(settings))
    assert isinstance(made, Flux2Transformer2DModel), "a pair is returned only when asked for"
    return made


def weightless_base(size: Size, text_model: TextModel, source: ModelSource) -> Weightless:
    """All parts of a base that take memory. The VAE computes in float32, and so does its decoder here."""
    settings = text_of(source, text_model.settings(size), transformer_of(source, transformer_settings(size)))
    with torch.device("meta"):
        vae = cast(AutoencoderKLFlux2, AutoencoderKLFlux2.from_config(dict(vae_of(source))))
        text = text_model.without_weights(settings)
        tokens = source.max_sequence_length
        embeds = {text_model.embeds: torch.empty(1, tokens, TEXT_LAYERS * text.config.hidden_size)}
        ids = torch.zeros(1, tokens, dtype=torch.long)
        mask = torch.ones(1, 1, tokens, tokens, dtype=torch.bool)
    for part in (vae, text):
        part.requires_grad_(False)
    transformer = weightless_transformer(size, source)
    return Weightless(
        transformer=transformer,
        vae=vae,
        text_encoders=(text,),
        prompt_embeds=PromptEmbeds(embeds),
        latent_channels=int(transformer.config["in_channels"]),
        encode_image=lambda pixels: latent_distribution(vae, pixels),
        decode_latents=lambda latents: decode_latents(vae, latents),
        encode_caption=torch.no_grad()(lambda: text(ids, attention_mask=mask, use_cache=False)),
    )
