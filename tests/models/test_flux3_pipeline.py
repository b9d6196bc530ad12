# ruff: noqa: E402
"""FLUX.3 klein: what our path gives the transformer, and the images, are the official pipeline's to the last bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pixel_unshuffle

pytest.importorskip("diffusers", minversion="0.42", reason="FLUX.3 came with diffusers 0.42")

from diffusers import ClassifierFreeGuidance, FlowMatchEulerDiscreteScheduler
from diffusers.modular_pipelines import PipelineState

import flux_lora.models.flux3.velocity as velocity_module
from flux_lora.data.cache.preprocess import to_pixels
from flux_lora.models.family import ModelSource, Pipeline, SampleRequest
from flux_lora.models.flux2.latents import latent_distribution
from flux_lora.models.flux2.load import load_vae
from flux_lora.models.flux3.family import FLUX3
from flux_lora.models.flux3.load import load_text_encoder, load_transformer, make_scheduler
from flux_lora.models.flux3.text import encode_text
from flux_lora.models.flux3.velocity import pack, positions, text_positions, unpack, velocity_of
from flux_lora.models.registry import family_of
from flux_lora.render.pipeline import render
from flux_lora.render.spec import RenderSpec
from tests.flux3_base import CAPTIONS, LONG, MOST, PLACE, captured, official_pipeline, our_embeds, write_flux3
from tests.models.compared_images import farthest, noise_image

WIDE_AND_TALL = pytest.mark.parametrize(("height", "width"), [(64, 96), (96, 32)])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flux3(tmp_path_factory.mktemp("flux3") / "base")


@pytest.fixture(scope="module")
def source(base: Path) -> ModelSource:
    return ModelSource(str(base), max_sequence_length=MOST)


@pytest.fixture(scope="module")
def theirs(base: Path) -> Any:
    return official_pipeline(base)


@WIDE_AND_TALL
def test_latents_equal_the_pipeline_s_of_a_reference(source: ModelSource, theirs: Any, height: int, width: int):
    pixels = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1)) * 2 - 1
    found = latent_distribution(load_vae(source), pixels)
    step = theirs.blocks.sub_blocks["vae_encoder"].sub_blocks["image_conditioning"].sub_blocks["encode"]
    expected = _encoded(step, theirs, pixels)
    assert torch.equal(found.mean, expected)
    assert not found.std.any()
    assert found.mean.shape == (1, 16, height // 16, width // 16)


def _encoded(step: Any, theirs: Any, pixels: Tensor) -> Tensor:
    state = PipelineState()
    state.set("condition_images", [pixels])
    _, state = step(theirs, state)
    return state.get("image_cond_latents")[0]


def test_positions_equal_the_pipeline_s_for_the_image_references_and_words():
    from diffusers.modular_pipelines.flux3.before_denoise import Flux3TextRoPEInputsStep, _prepare_image_ids

    device = torch.device("cpu")
    for height, width, place in ((3, 5, 0), (2, 4, -1), (5, 1, -2)):
        ours, expected = positions(height, width, place, device), _prepare_image_ids(height, width, 0.5, place)
        assert torch.equal(ours, expected) and ours.dtype == expected.dtype
    words = text_positions(80, device)
    expected = Flux3TextRoPEInputsStep._prepare_text_ids(torch.zeros(1, 80, 4))
    assert torch.equal(words, expected) and words.dtype == expected.dtype


INPUTS = ("hidden_states", "timestep", "encoder_hidden_states", "img_ids", "txt_ids")


@WIDE_AND_TALL
@pytest.mark.parametrize("guidance", [1.0, 3.5])
@torch.no_grad()
def test_the_transformer_is_given_what_the_pipeline_gives_it(
    source: ModelSource, theirs: Any, height: int, width: int, guidance: float
):
    noise = torch.randn(1, 16, height // 16, width // 16, generator=torch.Generator().manual_seed(3))
    theirs.update_components(guider=ClassifierFreeGuidance(guidance_scale=guidance))
    run = {"height": height, "width": width, "num_inference_steps": 2, "latents": noise, "output": "latents"}
    calls = captured(theirs.transformer, lambda: theirs(prompt=CAPTIONS[2], **run))
    assert len(calls) == (4 if guidance > 1 else 2)
    transformer = load_transformer(source, PLACE)
    embeds = [our_embeds(source, CAPTIONS[2]), our_embeds(source, "")]
    for call, said in zip(calls[: 1 + (guidance > 1)], embeds, strict=False):
        (ours,) = captured(transformer, lambda: velocity_of(transformer)(noise, call["timestep"], said))  # noqa: B023
        for name in INPUTS:
            assert torch.equal(ours[name], call[name]) and ours[name].dtype == call[name].dtype, name
        assert ours["image_cond_hidden_states"] is ours["target_timestep"] is None
        assert torch.equal(theirs.transformer(**call)[0], transformer(**ours)[0])


@pytest.mark.parametrize("spoiled", [("GRID", 1.0), ("pack", lambda latents: pack(latents.transpose(2, 3)))])
@torch.no_grad()
def test_a_grid_of_whole_units_or_swapped_axes_would_be_answered_otherwise(
    source: ModelSource, monkeypatch: pytest.MonkeyPatch, spoiled: tuple[str, object]
):
    transformer, embeds = load_transformer(source, PLACE), our_embeds(source)
    noise, sigma = torch.randn(1, 16, 4, 6, generator=torch.Generator().manual_seed(3)), torch.tensor([0.6])
    positions.cache_clear()
    expected = velocity_of(transformer)(noise, sigma, embeds)
    monkeypatch.setattr(velocity_module, *spoiled)
    positions.cache_clear()
    found = velocity_of(transformer)(noise, sigma, embeds)
    positions.cache_clear()
    assert not torch.allclose(found, expected)


@torch.no_grad()
def test_references_are_tokens_of_their_own_kind_and_only_the_image_s_are_answered(source: ModelSource, theirs: Any):
    """As the pipeline joins them: noise first, references behind, counted down on the last axis."""
    embeds, transformer = our_embeds(source), load_transformer(source, PLACE)
    generator = torch.Generator().manual_seed(4)
    noise, other, third = (torch.randn(1, 16, *side, generator=generator) for side in ((4, 6), (2, 2), (4, 2)))
    run = {"height": 64, "width": 96, "num_inference_steps": 1, "output": "latents", "latents": noise}
    (call, *_) = captured(
        theirs.transformer, lambda: theirs(prompt=CAPTIONS[0], image_cond_latents=[other, third], **run)
    )
    predict, sigma = velocity_of(transformer), call["timestep"]
    answered = []
    (ours,) = captured(
        transformer, lambda: answered.append(predict(noise, sigma, embeds, references=[other[0], third[0]]))
    )
    for name in (*INPUTS, "image_cond_hidden_states", "image_cond_ids"):
        assert torch.equal(ours[name], call[name]) and ours[name].dtype == call[name].dtype, name
    assert torch.equal(answered[0], unpack(theirs.transformer(**call)[0], height=4, width=6))
    assert not torch.allclose(answered[0], predict(noise, sigma, embeds))


@pytest.mark.parametrize("steps", [1, 4, 16, 50])
def test_the_schedule_is_the_pipeline_s_for_every_number_of_steps_and_size(steps: int, theirs: Any):
    ours, official = make_scheduler(), theirs.scheduler
    assert isinstance(official, FlowMatchEulerDiscreteScheduler)
    sigmas = torch.linspace(1.0, 1 / steps, steps).tolist()
    for scheduler in (ours, official):
        scheduler.set_timesteps(sigmas=sigmas)
    assert torch.equal(ours.sigmas, official.sigmas)
    even = torch.tensor([*sigmas, 0.0], dtype=torch.float64)
    torch.testing.assert_close(ours.sigmas.double(), 6.93 * even / (1 + 5.93 * even), rtol=1e-5, atol=1e-6)


def test_another_shift_or_statistics_of_other_channels_would_be_seen(
    source: ModelSource, theirs: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("flux_lora.models.flux3.load.SHIFT", 3.0)
    ours, official = make_scheduler(), theirs.scheduler
    for scheduler in (ours, official):
        scheduler.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25])
    assert not torch.allclose(ours.sigmas, official.sigmas)
    pixels = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    step = theirs.blocks.sub_blocks["vae_encoder"].sub_blocks["image_conditioning"].sub_blocks["encode"]
    monkeypatch.setattr("flux_lora.models.flux2.latents.patchify", lambda latents: pixel_unshuffle(latents, 2).flip(1))
    assert not torch.allclose(latent_distribution(load_vae(source), pixels).mean, _encoded(step, theirs, pixels))


def test_training_takes_the_same_shift_at_every_size():
    for family in FLUX3:
        shifts = {family.training_shift(None, width=side, height=side) for side in (512, 1024)}
        shifts |= {
            family.sampling_shift(None, width=side, height=side, steps=steps)
            for side in (512, 1024)
            for steps in (4, 50)
        }
        assert shifts == {6.93}


@pytest.mark.parametrize(("size", "steps", "guidance"), [((96, 64), 3, 3.5), ((32, 96), 2, 1.0), ((64, 64), 4, 2.5)])
def test_images_equal_the_pipeline_s_to_the_last_bit(
    source: ModelSource, theirs: Any, size: tuple[int, int], steps: int, guidance: float
):
    """The prompt's window is 160 tokens, that of the empty prompt 80."""
    family = family_of(source)
    pipeline = family.load_pipeline(source, PLACE)
    embeds = our_embeds(source, CAPTIONS[2])
    opened = Pipeline(family, pipeline.transformer, pipeline.vae, pipeline.scheduler, our_embeds(source, ""))
    latents = family.sample(
        opened, SampleRequest(embeds.rows([0, 0]), (7, 8)), size=size, steps=steps, guidance=guidance
    )
    ours = family.decode(pipeline.vae, latents)
    theirs.update_components(guider=ClassifierFreeGuidance(guidance_scale=guidance))
    expected = theirs(
        prompt=CAPTIONS[2],
        num_images_per_prompt=2,
        width=size[0],
        height=size[1],
        num_inference_steps=steps,
        max_sequence_length=MOST,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in (7, 8)],
        output="images",
    )
    assert [_bytes(image) for image in ours] == [_bytes(image) for image in expected]


def test_images_made_from_an_image_are_the_pipeline_s(source: ModelSource, theirs: Any):
    """The pipeline encodes the image itself; a level of 255 is what rounding of pixels may make."""
    family, embeds, shown = family_of(source), our_embeds(source, CAPTIONS[2]), noise_image(64, 96, 1)
    pipeline = replace(family.load_pipeline(source, PLACE), negative=our_embeds(source, ""))
    reference = latent_distribution(load_vae(source), to_pixels(shown)[None]).mean
    asked = SampleRequest(embeds.rows([0, 0]), (7, 8), (reference,))
    ours = family.decode(pipeline.vae, family.sample(pipeline, asked, size=(96, 64), steps=3, guidance=3.5))
    theirs.update_components(guider=ClassifierFreeGuidance(guidance_scale=3.5))
    expected = theirs(
        image=shown,
        prompt=CAPTIONS[2],
        num_images_per_prompt=2,
        width=96,
        height=64,
        num_inference_steps=3,
        max_sequence_length=MOST,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in (7, 8)],
        output="images",
    )
    assert farthest(ours, expected) <= 1
    plain = family.sample(pipeline, replace(asked, references=()), size=(96, 64), steps=3, guidance=3.5)
    assert farthest(ours, family.decode(pipeline.vae, plain)) > 1


def test_prompts_of_several_windows_are_rendered_as_each_alone(source: ModelSource):
    """At this size up to 64 images share a model call; padding is attended to, so no two windows may."""
    family = family_of(source)
    encoder, pipeline = load_text_encoder(source, torch.float32), family.load_pipeline(source, PLACE)
    pipeline = replace(pipeline, negative=encode_text(encoder, "", MOST))
    said = (CAPTIONS[0], LONG, LONG.upper(), "rain")
    embeds = [encode_text(encoder, prompt, MOST) for prompt in said]
    assert [each.window for each in embeds] == [80, 160, 160, 80]
    spec = RenderSpec(prompts=said, seeds=(1, 2), width=64, height=32, text_tokens=MOST, steps=2)
    shared = []
    calls = captured(pipeline.transformer, lambda: shared.extend(render(pipeline, embeds, spec)))
    assert [call["encoder_hidden_states"].shape[:2] for call in calls[::4]] == [(2, 80), (4, 160), (2, 80)]
    alone = [
        image
        for prompt, each in zip(said, embeds, strict=True)
        for image in render(pipeline, [each], replace(spec, prompts=(prompt,)))
    ]
    far = [
        np.abs(np.asarray(one, int) - np.asarray(other, int)).max() for one, other in zip(shared, alone, strict=True)
    ]
    assert max(far) <= 1 and len({_bytes(image) for image in shared}) == 8


def _bytes(image: Image.Image) -> bytes:
    return image.tobytes()


def test_a_distilled_base_draws_without_guidance_and_is_told_where_each_step_goes(tmp_path: Path, source: ModelSource):
    distilled = ModelSource(str(write_flux3(tmp_path / "distilled", distilled=True)), max_sequence_length=MOST)
    family = family_of(distilled)
    assert (family.name, family.uses_cfg, family.trained_instead) == ("FLUX.3 klein", False, "flux3_klein")
    pipeline, embeds = family.load_pipeline(distilled, PLACE), our_embeds(source)
    drawn = []
    calls = captured(
        pipeline.transformer,
        lambda: drawn.extend(
            family.sample(pipeline, SampleRequest(embeds, (1,)), size=(32, 32), steps=2, guidance=guidance)
            for guidance in (1.0, 4.0)
        ),
    )
    assert torch.equal(*drawn)
    assert [float(call["target_timestep"]) for call in calls[:2]] == [float(calls[1]["timestep"]), 0.0]
    sigma = torch.tensor([0.4])
    (asked,) = captured(
        pipeline.transformer,
        lambda: family.velocity(pipeline.transformer, guidance=1.0)(torch.zeros(1, 16, 2, 2), sigma, embeds),
    )
    assert asked["target_timestep"] is sigma
