"""Images <-> latents, in the transformer's units.

Shape letters: B batch, C channels (3 for pixels, 16 for latents), H W height and width.
"""

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from flux_lora.models.family import LatentDistribution


@torch.no_grad()
def latent_distribution(vae: AutoencoderKL, pixels: Tensor) -> LatentDistribution:
    """Pixels BCHW in [-1, 1] -> what the VAE takes them for, shifted and scaled."""
    posterior = vae.encode(pixels.to(vae.device, vae.dtype), return_dict=False)[0]
    scale = vae.config["scaling_factor"]
    return LatentDistribution(mean=(posterior.mean - vae.config["shift_factor"]) * scale, std=posterior.std * scale)


def encode_pixels(vae: AutoencoderKL, pixels: Tensor) -> Tensor:
    """Pixels BCHW in [-1, 1] -> latents BCHW: the posterior's mean, the same each time."""
    return latent_distribution(vae, pixels).mean


@torch.no_grad()
def decode_latents(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Latents BCHW -> pixels BCHW, about [-1, 1]."""
    unscaled = latents / vae.config["scaling_factor"] + vae.config["shift_factor"]
    return vae.decode(unscaled.to(vae.device, vae.dtype), return_dict=False)[0]
