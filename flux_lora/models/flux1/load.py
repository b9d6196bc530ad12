"""Open the large parts of a FLUX.1 pipeline: the embedded base, a diffusers folder, a model on the hub, or files by
themselves.

Weights go to their device one by one: the host never holds a whole base for a GPU.
"""

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from flux_lora.config.choices import Quantization
from flux_lora.models import pipeline_parts
from flux_lora.models.family import ModelSource
from flux_lora.models.flux1.caption_tokenizers import tokenizers_of
from flux_lora.models.flux1.layers import LAYER_GROUPS, MODULATION
from flux_lora.models.flux1.part_files import CLIP_LAYOUT, T5_LAYOUT, VAE_LAYOUT, clip_of, t5_of
from flux_lora.models.flux1.single_file import open_single_file
from flux_lora.models.flux1.text import TextEncoders
from flux_lora.models.flux1.weightless import transformer_on_meta
from flux_lora.models.pipeline_folder import broken_files_explained, is_here, is_packed, part_folder
from flux_lora.models.pipeline_parts import filled, frozen, stored_in_file, stored_in_folder
from flux_lora.models.text_file import load_text_file, open_text_file
from flux_lora.models.vae_file import load_vae_file
from flux_lora.models.weight_file import is_weight_file, weights_in
from flux_lora.models.weight_stream import Precision, weight_files

Place = torch.device | str
SCHNELL_SCHEDULE: Mapping[str, Any] = {"shift": 1.0}
DEV_SCHEDULE: Mapping[str, Any] = {
    "shift": 3.0,
    "use_dynamic_shifting": True,
    "base_image_seq_len": 256,
    "max_image_seq_len": 4096,
    "base_shift": 0.5,
    "max_shift": 1.15,
}
"""As scheduler/scheduler_config.json of FLUX.1-dev (and Krea) and FLUX.1-schnell say."""


def load_transformer(
    path: str,
    dtype: torch.dtype,
    *,
    device: Place = "cpu",
    revision: str = "",
    quantize: Quantization = Quantization.none,
    offload_modulation: bool = False,
) -> FluxTransformer2DModel:
    """The transformer, frozen; `path` may also be the one file that holds it.

    What is outside of its blocks (embedders, the last layer) is small and stays whole.
    """
    precision = Precision(
        device,
        dtype,
        quantize=quantize,
        quantized=LAYER_GROUPS["blocks_all"],
        offloaded="|".join(MODULATION) if offload_modulation else "",
    )
    stored = (
        stored_in_file(open_single_file(path))
        if is_weight_file(path)
        else stored_in_folder(FluxTransformer2DModel, path, revision)
    )
    return filled(transformer_on_meta(stored.settings), stored, precision)


def load_vae(
    path: str, dtype: torch.dtype = torch.float32, *, device: Place = "cpu", revision: str = ""
) -> AutoencoderKL:
    """The VAE, frozen; `path` may also be the one file that holds it. It is small, and worth its float32."""
    if is_weight_file(path):
        return load_vae_file(AutoencoderKL, path, VAE_LAYOUT, device, dtype)
    folder = part_folder(path, "vae", revision)
    with broken_files_explained(folder):
        vae = AutoencoderKL.from_pretrained(folder, dtype=dtype, use_safetensors=True, device_map={"": device})
    return frozen(vae)


def load_text_encoders(
    base: str | ModelSource, dtype: torch.dtype = torch.float32, *, device: Place = "cpu"
) -> TextEncoders:
    """CLIP and T5 with their tokenizers, frozen. FLUX.1-dev's T5 takes 9 GiB in bfloat16, twice that in float32."""
    source = ModelSource(base) if isinstance(base, str) else base
    clip_tokenizer, t5_tokenizer = tokenizers_of(source)
    return TextEncoders(
        clip_tokenizer=clip_tokenizer,
        clip=_clip(source, dtype, device),
        t5_tokenizer=t5_tokenizer,
        t5=_t5(source, dtype, device),
    )


def _clip(source: ModelSource, dtype: torch.dtype, device: Place) -> CLIPTextModel:
    if source.text_encoder:
        weights, config = open_text_file(source.text_encoder, CLIP_LAYOUT), CLIPTextConfig(**clip_of(source))
        return load_text_file(CLIPTextModel, config, weights, dtype=dtype, device=device)
    folder, there = part_folder(source.path, "text_encoder", source.revision), {"": device}
    with broken_files_explained(folder):
        return frozen(CLIPTextModel.from_pretrained(folder, dtype=dtype, use_safetensors=True, device_map=there))


def _t5(source: ModelSource, dtype: torch.dtype, device: Place) -> T5EncoderModel:
    if source.text_encoder_2:
        weights = open_text_file(source.text_encoder_2, T5_LAYOUT)
    else:
        folder, there = part_folder(source.path, "text_encoder_2", source.revision), {"": device}
        with broken_files_explained(folder):
            if not is_packed(folder):
                return frozen(
                    T5EncoderModel.from_pretrained(folder, dtype=dtype, use_safetensors=True, device_map=there)
                )
            weights = weights_in(folder, weight_files(folder))
    return load_text_file(T5EncoderModel, T5Config(**t5_of(source)), weights, dtype=dtype, device=device)


def load_scheduler(source: ModelSource, transformer: FluxTransformer2DModel) -> FlowMatchEulerDiscreteScheduler:
    """The sampler's schedule: of the base, or as its release has it where all parts are files by themselves."""
    if is_here(source.path) or not all((source.transformer, source.vae, source.text_encoder, source.text_encoder_2)):
        return pipeline_parts.load_scheduler(source.path, revision=source.revision)
    return FlowMatchEulerDiscreteScheduler(
        **(DEV_SCHEDULE if transformer.config["guidance_embeds"] else SCHNELL_SCHEDULE)
    )
