"""FLUX.2 klein's VAE and Qwen3 in files of their own, as ComfyUI has them, and how each is known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flux_lora.errors import ConfigError, ModelError
from flux_lora.models.family import ModelSource
from flux_lora.models.flux2.caption_tokenizer import MERGES
from flux_lora.models.flux2.layers import TEXT_LAYERS
from flux_lora.models.flux2.single_file import open_single_file
from flux_lora.models.flux2.text_models import QWEN3, TextModel
from flux_lora.models.hub import fingerprint
from flux_lora.models.pipeline_folder import is_here, part_folder, part_settings
from flux_lora.models.single_file import settings_of
from flux_lora.models.text_file import TextLayout, open_text_file, text_settings
from flux_lora.models.vae_file import TOLD_BY, open_vae_file, sizes_told, vae_settings
from flux_lora.models.weight_file import Layout, Sides, blocks_in

Settings = Mapping[str, Any]

LATENT_CHANNELS = 32
ROPE_THETA = 1_000_000.0
"""Qwen3's, which a file does not tell."""
LAYER = "layers.0."


def _vae(shapes: Sides) -> Settings:
    sizes = sizes_told(shapes, latent_channels=LATENT_CHANNELS)
    blocks = len(sizes["block_out_channels"])
    widths = tuple(shapes[f"decoder.up_blocks.{number}.resnets.0.conv1.weight"][0] for number in range(blocks))[::-1]
    return sizes if widths == sizes["block_out_channels"] else {**sizes, "decoder_block_out_channels": widths}


def _qwen(shapes: Sides) -> Settings:
    words, width = shapes["embed_tokens.weight"]
    (head,) = shapes[f"{LAYER}self_attn.q_norm.weight"]
    return {
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": shapes[f"{LAYER}mlp.gate_proj.weight"][0],
        "num_hidden_layers": blocks_in(shapes, "layers."),
        "num_attention_heads": shapes[f"{LAYER}self_attn.q_proj.weight"][0] // head,
        "num_key_value_heads": shapes[f"{LAYER}self_attn.k_proj.weight"][0] // head,
        "head_dim": head,
        "rope_parameters": {"rope_type": "default", "rope_theta": ROPE_THETA},
    }


VAE_LAYOUT = Layout(
    model="FLUX.2",
    config_class="AutoencoderKLFlux2",
    told_by=TOLD_BY,
    settings=_vae,
    wanted="FLUX.2's VAE, flux2-vae.safetensors",
)
QWEN_LAYOUT = TextLayout(
    model="Qwen3",
    config_class="Qwen3ForCausalLM",
    prefixes=("text_encoders.qwen3_4b.transformer.model.", "text_encoders.qwen3_8b.transformer.model.", "model.", ""),
    mark=f"{LAYER}self_attn.q_norm.weight",
    told_by=("embed_tokens.weight", *(f"{LAYER}{name}.weight" for name in ("mlp.gate_proj", "self_attn.q_proj"))),
    settings=_qwen,
    wanted="qwen_3_4b.safetensors for klein 4B, qwen_3_8b's for 9B",
)


def transformer_of(source: ModelSource, usual: Settings) -> Settings:
    """What the transformer's config.json says, or its file tells; `usual` where neither is on this disk."""
    if source.transformer:
        return settings_of(open_single_file(source.transformer))
    return part_settings(source.path, "transformer", usual)


def vae_of(source: ModelSource) -> Settings:
    """The same of the VAE; of the released one nothing differs from diffusers' defaults."""
    return vae_settings(source.vae, VAE_LAYOUT) if source.vae else part_settings(source.path, "vae", {})


def text_of(source: ModelSource, usual: Settings, transformer: Settings) -> Settings:
    """The same of the text encoder. Raises ModelError where it is not as wide as the transformer takes it."""
    if not source.text_encoder:
        return part_settings(source.path, "text_encoder", usual)
    settings = text_settings(source.text_encoder, QWEN_LAYOUT)
    has, takes = int(settings["hidden_size"]), int(transformer["joint_attention_dim"]) // TEXT_LAYERS
    if has != takes:
        raise ModelError(
            f"{Path(source.text_encoder).name} is {has} wide, and the transformer takes {takes}",
            fix=f"give {QWEN_LAYOUT.wanted}",
        )
    return settings


def refuse_unknown_files(text: TextModel, source: ModelSource) -> None:
    """FLUX.2 reads captions with one text encoder, of which Qwen3 alone is read out of a file by itself."""
    if source.text_encoder_2:
        raise ConfigError(
            f"model.text_encoder_2 is {source.text_encoder_2}, and FLUX.2 has one text encoder",
            fix="leave model.text_encoder_2 empty, and set model.text_encoder to Qwen3's file",
        )
    if source.text_encoder and text != QWEN3:
        raise ConfigError(
            f"model.text_encoder is {source.text_encoder}, and {text.name}'s is not read out of one file",
            fix="leave model.text_encoder empty, and set model.path to a folder or hub id that has it",
        )


def ships_tokenizer(source: ModelSource) -> bool:
    """Whether Qwen's own tokenizer, of this package, reads for a text encoder that is a file by itself."""
    return bool(source.text_encoder) and not is_here(source.path)


def vae_digest(source: ModelSource) -> str:
    """Changes whenever the VAE would make other latents."""
    if source.vae:
        return f"{fingerprint(open_vae_file(source.vae, VAE_LAYOUT).file)}|{vae_of(source)}"
    return fingerprint(part_folder(source.path, "vae", source.revision))


def text_digest(source: ModelSource) -> str:
    """Changes whenever tokenizer or text encoder would make other prompt embeds."""
    tokenizer = MERGES if ships_tokenizer(source) else part_folder(source.path, "tokenizer", source.revision)
    if source.text_encoder:
        weights = fingerprint(open_text_file(source.text_encoder, QWEN_LAYOUT).file)
        return f"{fingerprint(tokenizer)}{weights}|{text_settings(source.text_encoder, QWEN_LAYOUT)}"
    return fingerprint(tokenizer) + fingerprint(part_folder(source.path, "text_encoder", source.revision))
