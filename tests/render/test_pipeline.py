"""Images are those that diffusers makes."""

import math
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from PIL import Image

from flux_lora.models.family import ModelSource, Pipeline, Placement, PromptEmbeds
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.latents import decode_latents
from flux_lora.models.flux1.load import load_text_encoders
from flux_lora.models.flux1.text import encode_text
from flux_lora.render import pipeline as sampler
from flux_lora.render.pipeline import render, sample_latents
from flux_lora.render.spec import RenderSpec

SPEC = RenderSpec(prompts=("a red cube", "rain"), seeds=(7, 8), width=48, height=32, text_tokens=32, steps=3)


def _pipeline(folder: Path) -> Pipeline:
    return Flux1().load_pipeline(ModelSource(str(folder)), Placement(torch.device("cpu"), torch.float32))


def _embeds(folder: Path, spec: RenderSpec = SPEC) -> list[PromptEmbeds]:
    text_encoders = load_text_encoders(str(folder))
    return [encode_text(text_encoders, [prompt], spec.text_tokens) for prompt in spec.prompts]


def _images(folder: Path, spec: RenderSpec = SPEC) -> list[Image.Image]:
    return render(_pipeline(folder), _embeds(folder, spec), spec)


def _far(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one, dtype=int) - np.asarray(other, dtype=int)).max())


def test_a_render_is_what_flux_pipeline_makes_of_the_same_words(tiny_flux: Path) -> None:
    pipeline = FluxPipeline.from_pretrained(tiny_flux)
    pipeline.set_progress_bar_config(disable=True)
    for shot, ours in zip(SPEC.shots(), _images(tiny_flux), strict=True):
        theirs = pipeline(
            shot.prompt,
            width=SPEC.width,
            height=SPEC.height,
            num_inference_steps=SPEC.steps,
            guidance_scale=SPEC.guidance,
            max_sequence_length=SPEC.text_tokens,
            generator=torch.Generator("cpu").manual_seed(shot.seed),
            return_dict=False,
        )[0][0]
        assert ours.size == (48, 32)
        assert _far(ours, cast(Image.Image, theirs)) <= 1


def test_an_image_does_not_depend_on_its_neighbours(tiny_flux: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = _images(tiny_flux)
    monkeypatch.setattr(sampler, "PIXELS_AT_ONCE", 1)
    for one, other in zip(together, _images(tiny_flux), strict=True):
        assert _far(one, other) <= 1


def test_seed_and_prompt_both_change_the_image(tiny_flux: Path) -> None:
    first, other_seed, other_prompt, _ = _images(tiny_flux)
    assert _far(first, other_seed) > 1
    assert _far(first, other_prompt) > 1


@pytest.mark.parametrize(("prompts", "tokens"), [(2, 64), (1, 32)])
def test_text_of_a_longer_window_or_for_other_prompts_is_our_mistake(
    tiny_flux: Path, prompts: int, tokens: int
) -> None:
    text = [PromptEmbeds({"t5": torch.zeros(1, tokens, 32), "pooled": torch.zeros(1, 32)})] * prompts
    with pytest.raises(AssertionError, match="encoded from this spec"):
        render(_pipeline(tiny_flux), text, SPEC)


@pytest.mark.parametrize("side", [512, 768, 1024])
def test_the_shift_of_an_image_is_the_schedulers_own(side: int):
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    tokens = (side // 16) ** 2
    mu = calculate_shift(tokens, 256, 4096, 0.5, 1.15)
    assert Flux1().sampling_shift(scheduler, width=side, height=side, steps=20) == pytest.approx(math.exp(mu))


def test_sampled_latents_are_what_is_rendered_before_it_is_decoded(tiny_flux: Path):
    pipeline = _pipeline(tiny_flux)
    latents = sample_latents(pipeline, _embeds(tiny_flux), SPEC)
    assert latents.shape == (4, 16, 4, 6)
    vae = cast(AutoencoderKL, pipeline.vae)
    pixels = ((decode_latents(vae, latents[3:]).clamp(-1, 1) + 1) * 127.5).round()[0].permute(1, 2, 0)
    assert _far(Image.fromarray(pixels.to(torch.uint8).numpy()), _images(tiny_flux)[3]) <= 1
