"""Open the large parts of a FLUX.1 pipeline: the embedded base, a diffusers folder, or a model on the hub.

Weights go to their device one by one: the host never holds a whole base for a GPU.
"""

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel
from transformers import AutoTokenizer, CLIPTextModel, CLIPTokenizer, T5EncoderModel

from flux_lora.config.choices import Quantization
from flux_lora.models.flux1.layers import LAYER_GROUPS, MODULATION, TEXT_PARTS
from flux_lora.models.flux1.single_file import open_single_file
from flux_lora.models.flux1.text import TextEncoders
from flux_lora.models.flux1.weightless import transformer_on_meta
from flux_lora.models.pipeline_folder import broken_files_explained, part_folder
from flux_lora.models.pipeline_parts import filled, frozen, stored_in_file, stored_in_folder
from flux_lora.models.single_file import is_single_file
from flux_lora.models.weight_stream import Precision

Place = torch.device | str


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
        if is_single_file(path)
        else stored_in_folder(FluxTransformer2DModel, path, revision)
    )
    return filled(transformer_on_meta(stored.settings), stored, precision)


def load_vae(
    path: str, dtype: torch.dtype = torch.float32, *, device: Place = "cpu", revision: str = ""
) -> AutoencoderKL:
    """The VAE, frozen. It is small, and worth its float32."""
    folder = part_folder(path, "vae", revision)
    with broken_files_explained(folder):
        vae = AutoencoderKL.from_pretrained(folder, dtype=dtype, use_safetensors=True, device_map={"": device})
    return frozen(vae)


def load_text_encoders(
    path: str, dtype: torch.dtype = torch.float32, *, device: Place = "cpu", revision: str = ""
) -> TextEncoders:
    """CLIP and T5 with their tokenizers, frozen. FLUX.1-dev's T5 takes 9 GiB in bfloat16, twice that in float32."""
    there = {"": device}
    clip_tokenizer, clip, t5_tokenizer, t5 = (part_folder(path, part, revision) for part in TEXT_PARTS)
    with broken_files_explained(t5.parent):
        return TextEncoders(
            clip_tokenizer=CLIPTokenizer.from_pretrained(clip_tokenizer),
            clip=frozen(CLIPTextModel.from_pretrained(clip, dtype=dtype, use_safetensors=True, device_map=there)),
            t5_tokenizer=AutoTokenizer.from_pretrained(t5_tokenizer),
            t5=frozen(T5EncoderModel.from_pretrained(t5, dtype=dtype, use_safetensors=True, device_map=there)),
        )
