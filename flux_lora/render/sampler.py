"""Pictures from a base (with or without an adapter in it), made by diffusers' own FluxPipeline."""

import math
from collections.abc import Iterator
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from PIL import Image
from torch import Tensor

from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux1.latents import decode_latents
from flux_lora.models.flux1.packing import unpack
from flux_lora.render.spec import RenderSpec

PIXELS_OF_A_TOKEN = 16 * 16
PIXELS_AT_ONCE = 512 * 512
"""Small pictures share a model call, large ones go one by one: memory stays that of one large picture."""
ABSENT: Any = None
"""A part the pipeline does without; diffusers allows that and its annotations do not."""


def render(
    transformer: FluxTransformer2DModel,
    vae: AutoencoderKL,
    scheduler: FlowMatchEulerDiscreteScheduler,
    text: PromptEmbeds,
    spec: RenderSpec,
) -> list[Image.Image]:
    """One picture for each of spec.shots(), in that order; text has one row for each of spec.prompts.

    The noise of a picture comes from its own seed on the CPU, so it does not depend on the machine
    or on its neighbours in a batch.
    """
    pipeline = _pipeline(transformer, vae, scheduler)
    pictures: list[Image.Image] = []
    for latents in _latents(pipeline, text, spec):
        pixels = decode_latents(vae, latents)
        drawn = pipeline.image_processor.postprocess(pixels.float(), output_type="pil")
        pictures.extend(cast(list[Image.Image], drawn))
    return pictures


def imagine(
    transformer: FluxTransformer2DModel,
    vae: AutoencoderKL,
    scheduler: FlowMatchEulerDiscreteScheduler,
    text: PromptEmbeds,
    spec: RenderSpec,
) -> Tensor:
    """The latents of the same pictures, BCHW on the CPU, as the transformer left them: the VAE is not used."""
    return torch.cat([latents.cpu() for latents in _latents(_pipeline(transformer, vae, scheduler), text, spec)])


def _latents(pipeline: FluxPipeline, text: PromptEmbeds, spec: RenderSpec) -> Iterator[Tensor]:
    assert text.t5.shape[:2] == (len(spec.prompts), spec.text_tokens), "text must be encoded from this spec"
    seeds = spec.seeds * len(spec.prompts)
    rows = [row for row in range(len(spec.prompts)) for _ in spec.seeds]
    at_once = max(1, PIXELS_AT_ONCE // (spec.width * spec.height))
    for start in range(0, len(rows), at_once):
        these = slice(start, start + at_once)
        yield _sample(pipeline, _rows(text, rows[these]), seeds[these], spec)


def shift_of(scheduler: FlowMatchEulerDiscreteScheduler, width: int, height: int) -> float:
    """How far the scheduler moves a picture's times towards noise; see flow.times.shifted."""
    wanted = scheduler.config
    if not wanted["use_dynamic_shifting"]:
        return float(wanted["shift"])
    tokens = width * height // PIXELS_OF_A_TOKEN
    bounds = [wanted[key] for key in ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")]
    return math.exp(calculate_shift(tokens, *bounds))


def _pipeline(
    transformer: FluxTransformer2DModel, vae: AutoencoderKL, scheduler: FlowMatchEulerDiscreteScheduler
) -> FluxPipeline:
    pipeline = FluxPipeline(
        scheduler=scheduler,
        vae=vae,
        text_encoder=ABSENT,
        tokenizer=ABSENT,
        text_encoder_2=ABSENT,
        tokenizer_2=ABSENT,
        transformer=transformer,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _rows(text: PromptEmbeds, rows: list[int]) -> PromptEmbeds:
    return PromptEmbeds(t5=text.t5[rows], pooled=text.pooled[rows])


@torch.no_grad()
def _sample(pipeline: FluxPipeline, text: PromptEmbeds, seeds: tuple[int, ...], spec: RenderSpec) -> Tensor:
    """Latents BCHW: the VAE keeps its own dtype, and reminders need no pixels."""
    text = text.to(pipeline.transformer.device, pipeline.transformer.dtype)
    (tokens,) = pipeline(
        prompt_embeds=cast(torch.FloatTensor, text.t5),
        pooled_prompt_embeds=cast(torch.FloatTensor, text.pooled),
        height=spec.height,
        width=spec.width,
        num_inference_steps=spec.steps,
        guidance_scale=spec.guidance,
        max_sequence_length=spec.text_tokens,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
        output_type="latent",
        return_dict=False,
    )
    scale = pipeline.vae_scale_factor
    return unpack(cast(Tensor, tokens), height=spec.height // scale, width=spec.width // scale)
