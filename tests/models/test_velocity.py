"""Our velocity is the one that the pipeline walks along."""

import pytest
import torch
from diffusers import FluxPipeline

from flux_lora.flow.randomness import generator_for
from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux1.load import load_transformer, load_vae
from flux_lora.models.flux1.velocity import pack, velocity_of
from flux_lora.models.pipeline_parts import load_scheduler
from tests.tiny import TEXT_WIDTH, tiny_transformer

HEIGHT, WIDTH = 4, 6


def question(batch: int = 2) -> tuple[torch.Tensor, PromptEmbeds]:
    generator = generator_for(0, 0, "question")
    noise = torch.randn(batch, 16, HEIGHT, WIDTH, generator=generator)
    text = PromptEmbeds(
        {
            "t5": torch.randn(batch, 8, TEXT_WIDTH, generator=generator),
            "pooled": torch.randn(batch, TEXT_WIDTH, generator=generator),
        }
    )
    return noise, text


def pipelines_latents(path: str, noise: torch.Tensor, text: PromptEmbeds, *, steps: int, guidance: float):
    """What FluxPipeline makes of this noise, packed; with its transformer and its schedule."""
    transformer, scheduler = load_transformer(path, torch.float32), load_scheduler(path)
    pipeline = FluxPipeline(scheduler, load_vae(path), None, None, None, None, transformer)
    pipeline.set_progress_bar_config(disable=True)
    height, width = noise.shape[-2:]
    latents = pipeline(
        prompt_embeds=text["t5"],
        pooled_prompt_embeds=text["pooled"],
        latents=pack(noise),
        height=height * 8,
        width=width * 8,
        num_inference_steps=steps,
        guidance_scale=guidance,
        output_type="latent",
        return_dict=False,
    )[0]
    return latents, transformer, scheduler


@pytest.mark.parametrize("guidance", [1.0, 3.5])
def test_one_step_of_the_real_pipeline_is_one_step_along_our_velocity(tiny_flux, guidance):
    noise, text = question()
    theirs, transformer, _ = pipelines_latents(str(tiny_flux), noise, text, steps=1, guidance=guidance)
    with torch.no_grad():
        ours = noise - velocity_of(transformer, guidance=guidance)(noise, torch.ones(2), text)
    torch.testing.assert_close(pack(ours), theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(4, 12), (12, 4)])
def test_euler_steps_along_our_velocity_end_at_the_pipelines_latents_to_the_last_bit(tiny_flux, height, width):
    steps = 4
    noise, text = torch.randn(1, 16, height, width, generator=torch.Generator().manual_seed(3)), question(batch=1)[1]
    theirs, transformer, scheduler = pipelines_latents(str(tiny_flux), noise, text, steps=steps, guidance=3.5)
    velocity, latents = velocity_of(transformer, guidance=3.5), noise
    for number in range(steps):
        now, then = scheduler.sigmas[number : number + 2]
        with torch.no_grad():
            answer = velocity(latents, (scheduler.timesteps[number] / 1000).expand(1), text)
        latents = latents + (then - now) * answer
    assert torch.equal(pack(latents), theirs)


def test_each_image_of_a_batch_is_answered_by_itself(tiny_flux):
    velocity = velocity_of(load_transformer(str(tiny_flux), torch.float32), guidance=1.0)
    noise, text = question()
    time = torch.tensor([0.2, 0.8])
    together = velocity(noise, time, text)
    alone = velocity(noise[1:], time[1:], PromptEmbeds({"t5": text["t5"][1:], "pooled": text["pooled"][1:]}))
    torch.testing.assert_close(together[1:], alone, atol=1e-5, rtol=1e-5)


def test_a_model_without_a_guidance_embedding_is_not_told_the_guidance():
    torch.manual_seed(0)
    transformer = tiny_transformer(guidance_embeds=False)
    noise, text = question()
    answers = [velocity_of(transformer, guidance=guidance)(noise, torch.ones(2) / 2, text) for guidance in (1.0, 3.5)]
    assert answers[0].shape == noise.shape
    assert torch.equal(*answers)


def test_a_gradient_flows_through_the_velocity_after_rendering_in_inference_mode():
    """Positions are kept between calls, and must not be tensors that autograd refuses."""
    torch.manual_seed(0)
    transformer = tiny_transformer()
    velocity = velocity_of(transformer, guidance=1.0)
    noise, text = question(batch=1)
    wide = torch.cat([noise, noise], dim=3)
    with torch.inference_mode():
        velocity(wide, torch.ones(1) / 2, text)
    velocity(wide, torch.ones(1) / 2, text).square().mean().backward()
    assert transformer.x_embedder.weight.grad is not None
