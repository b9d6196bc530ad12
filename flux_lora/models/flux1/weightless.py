"""FLUX.1 on the meta device: its parts as their config.json has them, or as FLUX.1-dev's, without a number of theirs.

The base need not be on this machine: the sizes of FLUX.1-dev's parts are those of its files (black-forest-labs/
FLUX.1-dev, transformer/, vae/, text_encoder/ and text_encoder_2/config.json).
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from flux_lora.models.family import ModelSource, PromptEmbeds, Weightless
from flux_lora.models.flux1.latents import decode_latents, latent_distribution
from flux_lora.models.flux1.single_file import open_single_file
from flux_lora.models.pipeline_folder import part_settings
from flux_lora.models.single_file import settings_of

Settings = Mapping[str, Any]

TRANSFORMER: Settings = {"guidance_embeds": True}
VAE: Settings = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": 16,
    "layers_per_block": 2,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
CLIP: Settings = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
T5: Settings = {
    "vocab_size": 32128,
    "d_model": 4096,
    "d_ff": 10240,
    "d_kv": 64,
    "num_heads": 64,
    "num_layers": 24,
    "feed_forward_proj": "gated-gelu",
}


def weightless_transformer(source: ModelSource | None = None) -> FluxTransformer2DModel:
    """The transformer of a base, FLUX.1-dev's without one: every module that a file can name, and no memory."""
    if source and source.transformer:
        settings = settings_of(open_single_file(source.transformer))
    else:
        settings = part_settings(source.path, "transformer", TRANSFORMER) if source else TRANSFORMER
    return transformer_on_meta(settings).requires_grad_(False)


def transformer_on_meta(settings: Settings) -> FluxTransformer2DModel:
    """As its config.json has it, without weights."""
    with torch.device("meta"):
        made = FluxTransformer2DModel.from_config(dict(settings))
    assert isinstance(made, FluxTransformer2DModel), "a pair is returned only when asked for"
    return made


def weightless_base(source: ModelSource) -> Weightless:
    """All parts of a base that take memory. The VAE computes in float32, and so does its decoder here."""
    with torch.device("meta"):
        vae = cast(AutoencoderKL, AutoencoderKL.from_config(dict(part_settings(source.path, "vae", VAE))))
        clip = CLIPTextModel(CLIPTextConfig(**part_settings(source.path, "text_encoder", CLIP)))
        t5 = T5EncoderModel(T5Config(**part_settings(source.path, "text_encoder_2", T5)))
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
