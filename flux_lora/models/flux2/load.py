"""Open the large parts of a FLUX.2 pipeline: a diffusers folder, or a model on the hub.

Weights go to their device one by one: the host never holds a whole base for a GPU.
"""

from typing import cast

import torch
from diffusers import AutoencoderKLFlux2, Flux2Transformer2DModel
from transformers import Qwen3Config, Qwen3Model
from transformers.utils import logging

from flux_lora.models.family import ModelSource, Placement
from flux_lora.models.flux2.caption_tokenizer import load_tokenizer
from flux_lora.models.flux2.layers import LAYER_GROUPS, MODULATION
from flux_lora.models.flux2.single_file import open_single_file
from flux_lora.models.flux2.text import TextEncoder, of_used_layers, without_last_norm
from flux_lora.models.flux2.weightless import transformer_on_meta
from flux_lora.models.pipeline_folder import broken_files_explained, part_folder
from flux_lora.models.pipeline_parts import filled, frozen, stored_in_file, stored_in_folder
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
    folder = part_folder(source.path, "vae", source.revision)
    with broken_files_explained(folder):
        vae = AutoencoderKLFlux2.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, device_map={"": device}
        )
    return frozen(vae)


def load_text_encoder(source: ModelSource, dtype: torch.dtype, *, device: Place = "cpu") -> TextEncoder:
    """Qwen3 up to the last layer that is used, frozen."""
    folder = part_folder(source.path, "text_encoder", source.revision)
    with broken_files_explained(folder):
        config = of_used_layers(cast(Qwen3Config, Qwen3Config.from_pretrained(folder)))
        level = logging.get_verbosity()
        logging.set_verbosity_error()  # it warns of the layers that are left out
        try:
            model = Qwen3Model.from_pretrained(
                folder, config=config, dtype=dtype, use_safetensors=True, device_map={"": device}
            )
        finally:
            logging.set_verbosity(level)
    return TextEncoder(load_tokenizer(source.path, source.revision), frozen(without_last_norm(model)))
