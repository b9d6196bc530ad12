"""FLUX.1's VAE, CLIP and T5 in files of their own, as ComfyUI has them: ae, clip_l and t5xxl; how each is known.

A file beside the wrong transformer is refused by the widths that the two have to share.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flux_lora.errors import ModelError
from flux_lora.models.family import ModelSource
from flux_lora.models.flux1.caption_tokenizers import tokenizer_folders
from flux_lora.models.flux1.single_file import open_single_file
from flux_lora.models.hub import fingerprint
from flux_lora.models.pipeline_folder import part_folder, part_settings
from flux_lora.models.single_file import settings_of
from flux_lora.models.text_file import TextLayout, open_text_file, text_settings
from flux_lora.models.vae_file import TOLD_BY, open_vae_file, sizes_told, vae_settings
from flux_lora.models.weight_file import Layout, Sides, blocks_in

Settings = Mapping[str, Any]

LATENT_CHANNELS = 16
TRANSFORMER: Settings = {"guidance_embeds": True}
VAE: Settings = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "latent_channels": LATENT_CHANNELS,
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
"""Of FLUX.1-dev's parts, as its files have them (black-forest-labs/FLUX.1-dev, each part's config.json)."""
T5_WIDTH, CLIP_WIDTH = 4096, 768
CLIP_HEAD = 64
"""Features of a head; a file does not tell."""
CLIP_LAYER, T5_LAYER = "encoder.layers.0.", "encoder.block.0.layer."


def _vae(shapes: Sides) -> Settings:
    sizes = sizes_told(shapes, latent_channels=LATENT_CHANNELS)
    return {**sizes, **{name: VAE[name] for name in ("scaling_factor", "shift_factor")}}


def _clip(shapes: Sides) -> Settings:
    words, width = shapes["embeddings.token_embedding.weight"]
    return {
        "vocab_size": words,
        "hidden_size": width,
        "intermediate_size": shapes[f"{CLIP_LAYER}mlp.fc1.weight"][0],
        "num_hidden_layers": blocks_in(shapes, "encoder.layers."),
        "num_attention_heads": width // CLIP_HEAD,
        "max_position_embeddings": shapes["embeddings.position_embedding.weight"][0],
        "projection_dim": width,
    }


def _t5(shapes: Sides) -> Settings:
    words, width = shapes["shared.weight"]
    buckets, heads = shapes[f"{T5_LAYER}0.SelfAttention.relative_attention_bias.weight"]
    return {
        "vocab_size": words,
        "d_model": width,
        "d_ff": shapes[f"{T5_LAYER}1.DenseReluDense.wi_0.weight"][0],
        "d_kv": shapes[f"{T5_LAYER}0.SelfAttention.q.weight"][0] // heads,
        "num_heads": heads,
        "num_layers": blocks_in(shapes, "encoder.block."),
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu",
    }


VAE_LAYOUT = Layout(
    model="FLUX.1",
    config_class="AutoencoderKL",
    told_by=TOLD_BY,
    settings=_vae,
    wanted="FLUX.1's VAE, ae.safetensors",
)
CLIP_LAYOUT = TextLayout(
    model="CLIP text encoder",
    config_class="CLIPTextModel",
    prefixes=("text_encoders.clip_l.transformer.text_model.", "clip_l.transformer.text_model.", "text_model.", ""),
    mark="embeddings.position_embedding.weight",
    told_by=("embeddings.token_embedding.weight", f"{CLIP_LAYER}mlp.fc1.weight"),
    settings=_clip,
    wanted="clip_l.safetensors",
)
T5_LAYOUT = TextLayout(
    model="T5 encoder",
    config_class="T5EncoderModel",
    prefixes=("text_encoders.t5xxl.transformer.", "t5xxl.transformer.", ""),
    mark=f"{T5_LAYER}0.SelfAttention.relative_attention_bias.weight",
    told_by=("shared.weight", f"{T5_LAYER}1.DenseReluDense.wi_0.weight", f"{T5_LAYER}0.SelfAttention.q.weight"),
    settings=_t5,
    wanted="t5xxl_fp16.safetensors",
)


def transformer_of(source: ModelSource) -> Settings:
    """What the transformer's config.json says, or its file tells; FLUX.1-dev's where neither is on this disk."""
    if source.transformer:
        return settings_of(open_single_file(source.transformer))
    return part_settings(source.path, "transformer", TRANSFORMER)


def vae_of(source: ModelSource) -> Settings:
    """The same of the VAE."""
    return vae_settings(source.vae, VAE_LAYOUT) if source.vae else part_settings(source.path, "vae", VAE)


def clip_of(source: ModelSource) -> Settings:
    """The same of CLIP. Raises ModelError where its vectors are not as wide as the transformer takes them."""
    if not source.text_encoder:
        return part_settings(source.path, "text_encoder", CLIP)
    settings, takes = text_settings(source.text_encoder, CLIP_LAYOUT), transformer_of(source)
    wide = int(takes.get("pooled_projection_dim", CLIP_WIDTH))
    _refuse_other_width(source.text_encoder, int(settings["hidden_size"]), wide, CLIP_LAYOUT.wanted)
    return settings


def t5_of(source: ModelSource) -> Settings:
    """The same of T5."""
    if not source.text_encoder_2:
        return part_settings(source.path, "text_encoder_2", T5)
    settings, takes = text_settings(source.text_encoder_2, T5_LAYOUT), transformer_of(source)
    wide = int(takes.get("joint_attention_dim", T5_WIDTH))
    _refuse_other_width(source.text_encoder_2, int(settings["d_model"]), wide, T5_LAYOUT.wanted)
    return settings


def check_files(source: ModelSource) -> None:
    """Open the header of every file that is named. Raises ModelError where one is not what it is given as."""
    if source.transformer:
        transformer_of(source)
    for settings_of_part in (vae_of, clip_of, t5_of):
        settings_of_part(source)


def vae_digest(source: ModelSource) -> str:
    """Changes whenever the VAE would make other latents."""
    if source.vae:
        return f"{fingerprint(open_vae_file(source.vae, VAE_LAYOUT).file)}|{vae_of(source)}"
    return fingerprint(part_folder(source.path, "vae", source.revision))


def text_digest(source: ModelSource) -> str:
    """Changes whenever tokenizers or text encoders would make other prompt embeds."""
    parts = [fingerprint(folder) for folder in tokenizer_folders(source)]
    for part, file, layout, settings in (
        ("text_encoder", source.text_encoder, CLIP_LAYOUT, clip_of),
        ("text_encoder_2", source.text_encoder_2, T5_LAYOUT, t5_of),
    ):
        place = open_text_file(file, layout).file if file else part_folder(source.path, part, source.revision)
        parts.append(f"{fingerprint(place)}|{settings(source)}" if file else fingerprint(place))
    clip_tokenizer, t5_tokenizer, clip, t5 = parts
    return "".join((clip_tokenizer, clip, t5_tokenizer, t5))


def _refuse_other_width(path: str, has: int, takes: int, wanted: str) -> None:
    if has != takes:
        raise ModelError(
            f"{Path(path).name} makes prompt embeds {has} wide, and the transformer takes {takes}", fix=f"give {wanted}"
        )
