"""Images of a RenderSpec from a base, with or without an adapter in it, by the model family's own pipeline.

Shape letters: B batch, C latent channels, H W latent height and width.
"""

from collections.abc import Iterator, Sequence

import torch
from PIL import Image
from torch import Tensor

from flux_lora.models.family import Pipeline, PromptEmbeds
from flux_lora.render.spec import RenderSpec

PIXELS_AT_ONCE = 512 * 512
"""Small images share a model call, large ones go one by one: memory stays that of one large image."""


def render(
    pipeline: Pipeline, prompt_embeds: PromptEmbeds, spec: RenderSpec, numbers: Sequence[int] | None = None
) -> list[Image.Image]:
    """One image for each of spec.shots(), in that order; prompt_embeds has one row for each of spec.prompts.

    `numbers` asks for some of the shots only.

    The noise of an image comes from its own seed on the CPU, so it does not depend on the machine or on its
    neighbours in a batch.
    """
    images: list[Image.Image] = []
    for latents in _latents(pipeline, prompt_embeds, spec, numbers):
        images.extend(pipeline.family.decode(pipeline.vae, latents))
    return images


def sample_latents(pipeline: Pipeline, prompt_embeds: PromptEmbeds, spec: RenderSpec) -> Tensor:
    """The latents of the same images, BCHW on the CPU, as the transformer left them: the VAE is not used."""
    return torch.cat([latents.cpu() for latents in _latents(pipeline, prompt_embeds, spec, None)])


def images_at_once(width: int, height: int) -> int:
    """How many images of so many pixels are sampled in one batch."""
    return max(1, PIXELS_AT_ONCE // (width * height))


def _latents(
    pipeline: Pipeline, prompt_embeds: PromptEmbeds, spec: RenderSpec, numbers: Sequence[int] | None
) -> Iterator[Tensor]:
    expected = (len(spec.prompts), spec.text_tokens)
    assert (len(prompt_embeds), prompt_embeds.window) == expected, "prompts must be encoded from this spec"
    numbers = range(len(spec.prompts) * len(spec.seeds)) if numbers is None else numbers
    rows, seeds = [n // len(spec.seeds) for n in numbers], [spec.seeds[n % len(spec.seeds)] for n in numbers]
    at_once = images_at_once(spec.width, spec.height)
    for start in range(0, len(rows), at_once):
        chunk = slice(start, start + at_once)
        yield pipeline.family.sample(
            pipeline,
            prompt_embeds.rows(rows[chunk]),
            seeds[chunk],
            size=(spec.width, spec.height),
            steps=spec.steps,
            guidance=spec.guidance,
        )
