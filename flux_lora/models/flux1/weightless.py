"""FLUX.1 on the meta device: its parts as their config.json or their files have them, or as FLUX.1-dev's, without a
number of theirs. The base need not be on this machine.
"""

from typing import cast

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from flux_lora.models.family import ModelSource, PromptEmbeds, Weightless
from flux_lora.models.flux1.latents import decode_latents, latent_distribution
from flux_lora.models.flux1.part_files import TRANSFORMER, Settings, clip_of, t5_of, transformer_of, vae_of


def weightless_transformer(source: ModelSource | None = None) -> FluxTransformer2DModel:
    """The transformer of a base, FLUX.1-dev's without one: every module that a file can name, and no memory."""
    return transformer_on_meta(transformer_of(source) if source else TRANSFORMER).requires_grad_(False)


def transformer_on_meta(settings: Settings) -> FluxTransformer2DModel:
    """As its config.json has it, without weights."""
    with torch.device("meta"):
        made = FluxTransformer2DModel.from_config(dict(settings))
    assert isinstance(made, FluxTransformer2DModel), "a pair is returned only when asked for"
    return made


def weightless_base(source: ModelSource) -> Weightless:
    """All parts of a base that take memory. The VAE computes in float32, and so does its decoder here."""
    with torch.device("meta"):
        vae = cast(AutoencoderKL, AutoencoderKL.from_config(dict(vae_of(source))))
        clip = CLIPTextModel(CLIPTextConfig(**clip_of(source)))
        t5 = T5EncoderModel(T5Config(**t5_of(source)))
        tokens = source.max_sequence_length
        embeds = {
            "t5": torch.empty(1, tokens, t5.config.d_model),
            "pooled": torch.empty(1, clip.config.hidden_size),
        }
        ids = torch.zeros(1, tokens, dtype=torch.long)
    for part in (vae, clip, t5):
        part.requires_grad_(False)
    return Weightless(
        transformer=weightless_transformer(source),
        vae=vae,
        text_encoders=(clip, t5),
        prompt_embeds=PromptEmbeds(embeds),
        latent_channels=int(vae.config["latent_channels"]),
        encode_image=lambda pixels: latent_distribution(vae, pixels),
        decode_latents=lambda latents: decode_latents(vae, latents),
        encode_caption=torch.no_grad()(lambda: t5(ids)),
    )
