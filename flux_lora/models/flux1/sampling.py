"""Images by diffusers' own FluxPipeline or FluxKontextPipeline: sampling to latents, and the schedule's shift.

Shape letters: B batch, C latent channels, H W latent height and width.
"""

import math
from functools import partial
from typing import cast

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxKontextPipeline, FluxPipeline, FluxTransformer2DModel
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from torch import Tensor

from flux_lora.models.family import SampleRequest
from flux_lora.models.flux1.layers import PATCH, PIXELS_PER_LATENT
from flux_lora.models.flux1.velocity import unpack
from flux_lora.models.pipeline_parts import ABSENT

Parts = tuple[FluxTransformer2DModel, FlowMatchEulerDiscreteScheduler]


def sampling_shift(scheduler: FlowMatchEulerDiscreteScheduler, width: int, height: int) -> float:
    """exp(mu) of FluxPipeline's dynamic shift at this size in pixels, or the scheduler's fixed shift."""
    config = scheduler.config
    if not config["use_dynamic_shifting"]:
        return float(config["shift"])
    tokens = width * height // (PIXELS_PER_LATENT * PATCH) ** 2
    bounds = [config[key] for key in ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")]
    return math.exp(calculate_shift(tokens, *bounds))


def pipeline_of(name: str, parts: Parts) -> FluxPipeline | FluxKontextPipeline:
    """diffusers' pipeline of this name, without VAE and text encoders."""
    transformer, scheduler = parts
    kind = FluxKontextPipeline if name == FluxKontextPipeline.__name__ else FluxPipeline
    pipeline = kind(
        scheduler=scheduler,
        vae=ABSENT,
        text_encoder=ABSENT,
        tokenizer=ABSENT,
        text_encoder_2=ABSENT,
        tokenizer_2=ABSENT,
        transformer=transformer,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def sample_with_flux_pipeline(
    pipeline: FluxPipeline | FluxKontextPipeline,
    request: SampleRequest,
    *,
    size: tuple[int, int],
    steps: int,
    guidance: float,
) -> Tensor:
    """Latents BCHW. They are not decoded here: the VAE keeps its own dtype and place, and class images need no
    pixels."""
    transformer = pipeline.transformer
    embeds = request.prompt_embeds.to(transformer.device, transformer.dtype)
    width, height = size
    draw = partial(pipeline, max_area=width * height) if isinstance(pipeline, FluxKontextPipeline) else pipeline
    if request.references:
        (reference,) = (each.to(transformer.device, transformer.dtype) for each in request.references)
        draw = partial(draw, image=reference.expand(len(request.seeds), -1, -1, -1), _auto_resize=False)
    (tokens,) = draw(
        prompt_embeds=cast(torch.FloatTensor, embeds["t5"]),
        pooled_prompt_embeds=cast(torch.FloatTensor, embeds["pooled"]),
        height=height,
        width=width,
        num_inference_steps=steps,
        guidance_scale=guidance,
        max_sequence_length=embeds.window,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in request.seeds],
        output_type="latent",
        return_dict=False,
    )
    return unpack(cast(Tensor, tokens), height=height // PIXELS_PER_LATENT, width=width // PIXELS_PER_LATENT)
