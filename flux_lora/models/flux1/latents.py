"""Pictures <-> latents, in the transformer's units.

Shape letters: B batch, C channels (3 for pixels, 16 for latents), H W height and width.
"""

import torch
from diffusers import AutoencoderKL
from torch import Generator, Tensor

PIXELS_PER_LATENT = 8
"""Pixels per side of one latent pixel."""


@torch.no_grad()
def encode_pixels(vae: AutoencoderKL, pixels: Tensor, generator: Generator | None = None) -> Tensor:
    """Pixels BCHW in [-1, 1] -> latents BCHW, shifted and scaled.

    Without a generator the answer is the posterior's mode, the same each time.
    """
    posterior = vae.encode(pixels.to(vae.device, vae.dtype), return_dict=False)[0]
    latents = posterior.mode() if generator is None else posterior.sample(generator)
    return (latents - vae.config["shift_factor"]) * vae.config["scaling_factor"]


@torch.no_grad()
def decode_latents(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Latents BCHW -> pixels BCHW, about [-1, 1]."""
    unscaled = latents / vae.config["scaling_factor"] + vae.config["shift_factor"]
    return vae.decode(unscaled.to(vae.device, vae.dtype), return_dict=False)[0]
