"""Open the large parts of a FLUX.2 pipeline: a diffusers folder, a model on the hub, or files by themselves.

Weights go to their device one by one: the host never holds a whole base for a GPU.
"""

from typing import cast

import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2Transformer2DModel
from transformers import Qwen3Config, Qwen3Model

from flux_lora.models import pipeline_parts
from flux_lora.models.family import ModelSource, Placement
from flux_lora.models.flux2.caption_tokenizer import load_tokenizer, shipped_tokenizer
from flux_lora.models.flux2.layers import LAYER_GROUPS, MODULATION
from flux_lora.models.flux2.part_files import QWEN_LAYOUT, VAE_LAYOUT, ships_tokenizer
from flux_lora.models.flux2.single_file import open_single_file
from flux_lora.models.flux2.text import TextEncoder, of_used_layers, without_last_norm
from flux_lora.models.flux2.weightless import transformer_on_meta
from flux_lora.models.pipeline_folder import broken_files_explained, is_here, part_folder
from flux_lora.models.pipeline_parts import filled, frozen, stored_in_file, stored_in_folder
from flux_lora.models.text_file import load_text_file, open_text_file, quiet_transformers, text_settings
from flux_lora.models.vae_file import load_vae_file
from flux_lora.models.weight_stream import Precision

Place = torch.device | str


def load_transformer(source: ModelSource, placement: Placement) -> Flux2Transformer2DModel:
    """The transformer, frozen. What is outside of its blocks (embedders, modulation, the last layer) stays whole."""
    stored = (
        stored_in_file(open_single_file(source.transformer))
        if source.transformer
        else stored_in_folder(Flux2Transformer2DModel, source.path, source.revision)
    )
    precision = Precision(
        placement.device,
        placement.dtype,
        quantize=placement.quantize,
        quantized=LAYER_GROUPS["blocks_all"],
        offloaded=MODULATION if placement.offload_modulation else "",
    )
    return filled(transformer_on_meta(stored.settings), stored, precision)


def load_vae(source: ModelSource, *, device: Place = "cpu") -> AutoencoderKLFlux2:
    """The VAE, frozen, in float32."""
    if source.vae:
        return load_vae_file(AutoencoderKLFlux2, source.vae, VAE_LAYOUT, device)
    folder = part_folder(source.path, "vae", source.revision)
    with broken_files_explained(folder):
        vae = AutoencoderKLFlux2.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, device_map={"": device}
        )
    return frozen(vae)


def load_text_encoder(source: ModelSource, dtype: torch.dtype, *, device: Place = "cpu") -> TextEncoder:
    """Qwen3 up to the last layer that is used, frozen."""
    tokenizer = shipped_tokenizer() if ships_tokenizer(source) else load_tokenizer(source.path, source.revision)
    if source.text_encoder:
        weights = open_text_file(source.text_encoder, QWEN_LAYOUT)
        config = of_used_layers(Qwen3Config(**text_settings(source.text_encoder, QWEN_LAYOUT)))
        model = load_text_file(Qwen3Model, config, weights, dtype=dtype, device=device)
        return TextEncoder(tokenizer, without_last_norm(model))
    folder = part_folder(source.path, "text_encoder", source.revision)
    with broken_files_explained(folder), quiet_transformers():
        config = of_used_layers(cast(Qwen3Config, Qwen3Config.from_pretrained(folder)))
        model = Qwen3Model.from_pretrained(
            folder, config=config, dtype=dtype, use_safetensors=True, device_map={"": device}
        )
    return TextEncoder(tokenizer, frozen(without_last_norm(model)))


def load_scheduler(source: ModelSource) -> FlowMatchEulerDiscreteScheduler:
    """The sampler's schedule: of the base, or the released one's where all parts are files by themselves."""
    if is_here(source.path) or not (source.transformer and source.vae and source.text_encoder):
        return pipeline_parts.load_scheduler(source.path, revision=source.revision)
    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
