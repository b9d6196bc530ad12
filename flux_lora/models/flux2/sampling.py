"""Images by diffusers' own Flux2KleinPipeline and Flux2Pipeline: sampling to latents, the shift, and that of training.

Shape letters: B batch, C latent channels (128), H W latent height and width.
"""

import math
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from PIL import Image
from torch import Tensor, nn

from flux_lora.models.family import PromptEmbeds, SampleRequest
from flux_lora.models.flux2.latents import patchify
from flux_lora.models.flux2.layers import PIXELS_PER_LATENT
from flux_lora.models.flux2.velocity import unpack
from flux_lora.models.pipeline_parts import ABSENT

TRAINING_SLOPE, TRAINING_OFFSET = 0.00016927, 0.45666666
"""Of mu over image tokens: FLUX.1's own line, 0.63 at 1024 tokens and 1.15 at 4096."""
PLACEHOLDER = Image.new("RGB", (64, 64))
"""What the pipeline is given for each reference, whose latents are known."""
OwnPipeline = Flux2KleinPipeline | Flux2Pipeline


class LatentsAsTheyAre(nn.Module):
    """In the place of a VAE: klein's pipeline, asked for latents, gives those of the transformer, less the patches."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, affine=False)
        self.config = SimpleNamespace(batch_norm_eps=0.0, block_out_channels=(1, 1, 1, 1))

    @property
    def device(self) -> torch.device:
        """Where the pipeline draws."""
        return cast(Tensor, self.bn.running_mean).device

    @property
    def dtype(self) -> torch.dtype:
        """What a pipeline asks of each of its parts."""
        return cast(Tensor, self.bn.running_mean).dtype


def pipeline_of(
    transformer: Flux2Transformer2DModel, scheduler: FlowMatchEulerDiscreteScheduler, *, distilled: bool = False
) -> OwnPipeline:
    """A pipeline that samples and loads LoRA files, without encoders: dev's if guidance is embedded, else klein's."""
    latents = cast(Any, LatentsAsTheyAre(int(transformer.config["in_channels"])).to(transformer.device))
    if transformer.config["guidance_embeds"]:
        pipeline = Flux2Pipeline(scheduler, latents, ABSENT, ABSENT, transformer)
    else:
        pipeline = Flux2KleinPipeline(scheduler, latents, ABSENT, ABSENT, transformer, is_distilled=distilled)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def image_tokens(width: int, height: int) -> int:
    """Of an image of so many pixels."""
    return (width // PIXELS_PER_LATENT) * (height // PIXELS_PER_LATENT)


def sampling_shift(width: int, height: int, steps: int) -> float:
    """exp(mu) of Flux2KleinPipeline's schedule, which depends on the steps too: 7.6 at 1024 x 1024 and 50."""
    return math.exp(compute_empirical_mu(image_tokens(width, height), steps))


def training_shift(width: int, height: int) -> float:
    """exp(mu) of the line that the schedule comes to with many steps, and of which musubi-tuner and OneTrainer train:
    1.9 at 512 x 512, 3.2 at 1024 x 1024. That of a schedule of few steps would hardly show fine detail."""
    return math.exp(TRAINING_SLOPE * image_tokens(width, height) + TRAINING_OFFSET)


@torch.no_grad()
def sample_with_pipeline(
    pipeline: OwnPipeline,
    asked: tuple[SampleRequest, PromptEmbeds | None],
    *,
    size: tuple[int, int],
    steps: int,
    guidance: float,
) -> Tensor:
    """Latents BCHW. `asked`: what is drawn, and one row of the empty prompt, needed where guidance is not embedded and
    above 1."""
    request, negative = asked
    transformer = pipeline.transformer
    width, height = size

    def given(embeds: PromptEmbeds | None) -> Any:
        return next(iter(embeds.to(transformer.device, transformer.dtype).tensors.values())) if embeds else None

    draw = partial(
        pipeline,
        prompt_embeds=given(request.prompt_embeds),
        height=height,
        width=width,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in request.seeds],
        output_type="latent",
        return_dict=False,
    )
    if request.references:
        vars(pipeline)["prepare_image_latents"] = partial(_as_tokens, pipeline, request.references)
        draw = partial(draw, image=[PLACEHOLDER for _ in request.references])
    if isinstance(pipeline, Flux2Pipeline):
        (tokens,) = draw()
        return unpack(tokens, height=height // PIXELS_PER_LATENT, width=width // PIXELS_PER_LATENT)
    (latents,) = draw(negative_prompt_embeds=given(negative and negative.rows([0] * len(request.seeds))))
    return patchify(latents)


def _as_tokens(
    pipeline: OwnPipeline, references: Sequence[Tensor], *, batch_size: int, device: torch.device, **_: object
) -> tuple[Tensor, Tensor]:
    """In the place of the pipeline's encoding of its images: latents that were encoded before, and where they sit."""
    given = [each.to(device, pipeline.transformer.dtype) for each in references]
    tokens = torch.cat([pipeline._pack_latents(each) for each in given], dim=1)  # noqa: SLF001
    ids = pipeline._prepare_image_ids(given).to(device)  # noqa: SLF001
    return tokens.expand(batch_size, -1, -1), ids.expand(batch_size, -1, -1)
