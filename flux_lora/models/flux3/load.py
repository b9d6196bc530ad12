"""Open the large parts of a FLUX.3 pipeline: a diffusers folder, or a model on the hub. Its VAE is FLUX.2's.

Weights go to their device one by one: the host never holds a whole base for a GPU. What only references pass through
stays in its file, mapped.
"""

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from transformers import Qwen3VLConfig, Qwen3VLTextModel

from flux_lora.models.family import ModelSource, Placement
from flux_lora.models.flux2.decoders import without_last_norm
from flux_lora.models.flux3.caption_tokenizer import load_tokenizer
from flux_lora.models.flux3.diffusers_classes import Flux3Transformer2DModel
from flux_lora.models.flux3.layers import LAYER_GROUPS, MODULATION, SHIFT, UNUSED
from flux_lora.models.flux3.single_file import open_single_file
from flux_lora.models.flux3.text import TextEncoder, of_used_layers
from flux_lora.models.flux3.weightless import transformer_on_meta
from flux_lora.models.pipeline_folder import broken_files_explained, part_folder
from flux_lora.models.pipeline_parts import filled, frozen, stored_in_file, stored_in_folder
from flux_lora.models.text_file import quiet_transformers
from flux_lora.models.weight_stream import Precision

Place = torch.device | str
IN_FLOAT32 = r".+\.norm_[qk]"
"""What diffusers keeps so in every dtype: q and k are normalised, and turned, in float32."""
LANGUAGE_MODEL = {r"^model\.language_model\.": ""}
"""Names in the whole model's file -> those of the language model alone."""


def load_transformer(source: ModelSource, placement: Placement) -> Flux3Transformer2DModel:
    """The transformer, frozen. What is outside of its blocks (embedders, modulation, the last layer) stays whole."""
    stored = (
        stored_in_file(open_single_file(source.transformer))
        if source.transformer
        else stored_in_folder(Flux3Transformer2DModel, source.path, source.revision)
    )
    precision = Precision(
        placement.device,
        placement.dtype,
        quantize=placement.quantize,
        quantized=LAYER_GROUPS["blocks_all"],
        offloaded=MODULATION if placement.offload_modulation else "",
        in_float32=IN_FLOAT32,
        unused=UNUSED,
    )
    return filled(transformer_on_meta(stored.settings), stored, precision)


def make_scheduler() -> FlowMatchEulerDiscreteScheduler:
    """The sampler's schedule, as Flux3SetTimestepsStep makes it: released folders hold none."""
    return FlowMatchEulerDiscreteScheduler(shift=SHIFT)


def load_text_encoder(source: ModelSource, dtype: torch.dtype, *, device: Place = "cpu") -> TextEncoder:
    """Qwen3-VL's language model up to the last layer that is used, frozen."""
    folder = part_folder(source.path, "text_encoder", source.revision)
    with broken_files_explained(folder):
        config = of_used_layers(Qwen3VLConfig.from_pretrained(folder).to_dict()["text_config"])
        with quiet_transformers():
            model = Qwen3VLTextModel.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                use_safetensors=True,
                device_map={"": device},
                key_mapping=LANGUAGE_MODEL,
            )
    return TextEncoder(load_tokenizer(source.path, source.revision), frozen(without_last_norm(model)))
