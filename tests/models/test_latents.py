"""Images <-> latents, beside the pipeline."""

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline

from flux_lora.flow.randomness import generator_for
from flux_lora.models.flux1.latents import decode_latents, encode_pixels, latent_distribution
from flux_lora.models.flux1.load import load_transformer, load_vae
from flux_lora.models.flux1.velocity import pack
from flux_lora.models.pipeline_parts import load_scheduler


@pytest.fixture(scope="module")
def vae(tiny_flux):
    return load_vae(str(tiny_flux))


def wide_pixels() -> torch.Tensor:
    return torch.rand(1, 3, 32, 48, generator=generator_for(0, 0, "pixels")) * 2 - 1


def test_latents_are_the_posteriors_mode_shifted_and_scaled(vae):
    mode = vae.encode(wide_pixels()).latent_dist.mode()
    torch.testing.assert_close(encode_pixels(vae, wide_pixels()), (mode - 0.1159) * 0.3611)
    assert encode_pixels(vae, wide_pixels()).shape == (1, 16, 4, 6)


def test_mean_and_spread_draw_what_the_vae_itself_would_draw(vae):
    drawn = vae.encode(wide_pixels()).latent_dist.sample(generator_for(0, 0, "posterior"))
    noise = torch.randn(drawn.shape, generator=generator_for(0, 0, "posterior"))
    posterior = latent_distribution(vae, wide_pixels())
    torch.testing.assert_close(posterior.mean + posterior.std * noise, (drawn - 0.1159) * 0.3611)


def test_decoding_equals_what_the_pipeline_makes_of_the_same_latents(vae, tiny_flux):
    latents = torch.randn(1, 16, 4, 6, generator=generator_for(0, 0, "latents"))
    path = str(tiny_flux)
    pipeline = FluxPipeline(load_scheduler(path), vae, None, None, None, None, load_transformer(path, torch.float32))
    unpacked = pipeline._unpack_latents(pack(latents), 32, 48, pipeline.vae_scale_factor)  # noqa: SLF001
    raw = vae.decode(unpacked / vae.config.scaling_factor + vae.config.shift_factor).sample
    image = pipeline.image_processor.postprocess(raw, output_type="np")
    ours = (decode_latents(vae, latents) / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).numpy()
    assert np.allclose(ours, image[0], atol=1e-6)
