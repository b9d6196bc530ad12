"""Images by diffusers' own modular pipeline of FLUX.3: sampling to latents.

Shape letters: B batch, C latent channels (128), H W latent height and width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.utils import logging
from torch import Tensor

from flux_lora.models.family import PromptEmbeds, SampleRequest
from flux_lora.models.flux3.diffusers_classes import (
    ClassifierFreeGuidance,
    Flux3AutoCoreDenoiseStep,
    Flux3DistilledAutoCoreDenoiseStep,
    Flux3ModularPipeline,
    Flux3Transformer2DModel,
)
from flux_lora.models.flux3.velocity import bring_reference_layers


def pipeline_of(
    transformer: Flux3Transformer2DModel, scheduler: FlowMatchEulerDiscreteScheduler
) -> Flux3ModularPipeline:
    """A pipeline that samples and loads LoRA files, without encoders."""
    blocks = Flux3DistilledAutoCoreDenoiseStep() if transformer.config["flow_map"] else Flux3AutoCoreDenoiseStep()
    with _no_warnings():
        pipeline = cast(Flux3ModularPipeline, blocks.init_pipeline())
        pipeline.update_components(transformer=transformer, scheduler=scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@torch.no_grad()
def sample_with_modular_pipeline(
    pipeline: Flux3ModularPipeline,
    asked: tuple[SampleRequest, PromptEmbeds | None],
    *,
    size: tuple[int, int],
    steps: int,
    guidance: float,
) -> Tensor:
    """Latents BCHW. `asked`: what is drawn, and one row of the empty prompt, needed where the guidance is not 1."""
    request, negative = asked
    transformer = pipeline.transformer
    device, dtype = transformer.device, transformer.dtype
    embeds = request.prompt_embeds.to(device, dtype)
    guided: dict[str, Any] = {}
    if not transformer.config["flow_map"]:
        with _no_warnings():
            pipeline.update_components(guider=ClassifierFreeGuidance(guidance_scale=guidance))
        against = negative.rows([0] * len(embeds)).to(device, dtype)["qwen"] if negative else None
        guided = {"negative_prompt_embeds": against}
    if request.references:
        bring_reference_layers(transformer, device)
        guided["image_cond_latents"] = [each.to(device, dtype) for each in request.references]
    width, height = size
    latents = pipeline(
        prompt_embeds=embeds["qwen"],
        height=height,
        width=width,
        num_inference_steps=steps,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in request.seeds],
        output="latents",
        **guided,
    )
    return cast(Tensor, latents)


@contextmanager
def _no_warnings() -> Iterator[None]:
    """diffusers warns that guiders may change in later versions, and of parts that it did not load itself."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
