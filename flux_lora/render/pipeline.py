"""Images of a RenderSpec from a base, with or without an adapter in it, by the model family's own pipeline.

Shape letters: B batch, C latent channels, H W latent height and width.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from PIL import Image
from torch import Tensor

from flux_lora.models.family import Pipeline, PromptEmbeds, SampleRequest, stack_prompt_embeds
from flux_lora.render.spec import RenderSpec

PIXELS_AT_ONCE = 512 * 512
"""Small images share a model call, large ones go one by one: memory stays that of one large image."""


def render(
    pipeline: Pipeline,
    prompt_embeds: Sequence[PromptEmbeds],
    spec: RenderSpec,
    numbers: Sequence[int] | None = None,
    *,
    references: Sequence[Tensor] = (),
) -> list[Image.Image]:
    """One image for each of spec.shots(), in that order; prompt_embeds has a batch of one for each of spec.prompts.

    `numbers` asks for some of the shots only. `references`, each 1CHW, are what all of them are made from.

    The noise of an image comes from its own seed on the CPU, so it does not depend on the machine or on its
    neighbours in a batch.
    """
    images: list[Image.Image] = []
    assert bool(references) == bool(spec.made_from), "a spec says whether its images are made from others"
    for latents in _latents(pipeline, prompt_embeds, spec, numbers, references):
        images.extend(pipeline.family.decode(pipeline.vae, latents))
    return images


def sample_latents(pipeline: Pipeline, prompt_embeds: Sequence[PromptEmbeds], spec: RenderSpec) -> Tensor:
    """The latents of the same images, BCHW on the CPU, as the transformer left them: the VAE is not used."""
    return torch.cat([latents.cpu() for latents in _latents(pipeline, prompt_embeds, spec, None, ())])


def images_at_once(width: int, height: int) -> int:
    """How many images of so many pixels are sampled in one batch."""
    return max(1, PIXELS_AT_ONCE // (width * height))


def _latents(
    pipeline: Pipeline,
    prompt_embeds: Sequence[PromptEmbeds],
    spec: RenderSpec,
    numbers: Sequence[int] | None,
    references: Sequence[Tensor],
) -> Iterator[Tensor]:
    fit = len(prompt_embeds) == len(spec.prompts) and all(each.window <= spec.text_tokens for each in prompt_embeds)
    assert fit, "prompts must be encoded from this spec"
    numbers = range(len(spec.prompts) * len(spec.seeds)) if numbers is None else numbers
    shots = [(prompt_embeds[n // len(spec.seeds)], spec.seeds[n % len(spec.seeds)]) for n in numbers]
    for chunk in _together(shots, images_at_once(spec.width, spec.height)):
        embeds, seeds = zip(*chunk, strict=True)
        yield pipeline.family.sample(
            pipeline,
            SampleRequest(stack_prompt_embeds(embeds), seeds, tuple(references)),
            size=(spec.width, spec.height),
            steps=spec.steps,
            guidance=spec.guidance,
        )


def _together(shots: Sequence[tuple[PromptEmbeds, int]], at_once: int) -> Iterator[Sequence[tuple[PromptEmbeds, int]]]:
    """Shots, prompt embeds and seed, that share a model call: neighbours whose prompts have the same window."""
    for _, same in groupby(shots, key=lambda shot: shot[0].window):
        neighbours = list(same)
        for start in range(0, len(neighbours), at_once):
            yield neighbours[start : start + at_once]
