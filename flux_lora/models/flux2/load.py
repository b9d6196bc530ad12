"""Open the large parts of a FLUX.2 pipeline: a diffusers folder, a model on the hub, or files by themselves.

Weights go to their device one by one: the host never holds a whole base for a GPU.
"""

import torch
from diffusers import AutoencoderKLFlux2, FlowMatchEulerDiscreteScheduler, Flux2Transformer2DModel
from transformers import MistralModel, Qwen3Model

from flux_lora.models import pipeline_parts
from flux_lora.models.family import ModelSource, Placement
from flux_lora.models.flux2.decoders import computed_on, empty_qwen3, without_last_norm
from flux_lora.models.flux2.layers import LAYER_GROUPS, MODULATION
from flux_lora.models.flux2.part_files import QWEN_LAYOUT, VAE_LAYOUT, ships_tokenizer
from flux_lora.models.flux2.single_file import open_single_file
from flux_lora.models.flux2.text import TextEncoder
from flux_lora.models.flux2.text_models import TextModel
from flux_lora.models.flux2.weightless import transformer_on_meta
from flux_lora.models.pipeline_folder import broken_files_explained, is_here, part_folder
from flux_lora.models.pipeline_parts import filled, frozen, stored_in_file, stored_in_folder
from flux_lora.models.text_file import load_text_file, open_text_file, text_settings
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


def load_text_encoder(
    text: TextModel, source: ModelSource, dtype: torch.dtype, *, device: Place = "cpu", computes_on: Place = ""
) -> TextEncoder:
    """The text encoder up to the last layer that is used, frozen; kept on one device, and computed on it or another."""
    shipped = ships_tokenizer(source)
    tokenizer = text.shipped_tokenizer() if shipped else text.load_tokenizer(source.path, source.revision)
    model = frozen(without_last_norm(_decoder(text, source, dtype, device)))
    if computes_on and torch.device(computes_on) != torch.device(device):
        model = computed_on(computes_on, model)
    return TextEncoder(text, tokenizer, model)


def _decoder(text: TextModel, source: ModelSource, dtype: torch.dtype, device: Place) -> Qwen3Model | MistralModel:
    if source.text_encoder:
        return _qwen_from_file(text, source.text_encoder, dtype, device)
    folder = part_folder(source.path, "text_encoder", source.revision)
    with broken_files_explained(folder):
        return text.load(folder, dtype, device)


def _qwen_from_file(text: TextModel, file: str, dtype: torch.dtype, device: Place) -> Qwen3Model:
    with torch.device("meta"):
        config = empty_qwen3(text_settings(file, QWEN_LAYOUT), max(text.layers)).config
    return load_text_file(Qwen3Model, config, open_text_file(file, QWEN_LAYOUT), dtype=dtype, device=device)


def load_scheduler(source: ModelSource) -> FlowMatchEulerDiscreteScheduler:
    """The sampler's schedule: of the base, or the released one's where all parts are files by themselves."""
    if is_here(source.path) or not (source.transformer and source.vae and source.text_encoder):
        return pipeline_parts.load_scheduler(source.path, revision=source.revision)
    return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
