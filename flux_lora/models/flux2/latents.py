"""Images <-> latents, in the transformer's units: patches of 2 x 2 of the VAE's latents, normalised channel by channel.

Shape letters: B batch, C channels (3 for pixels, 32 for the VAE, 128 for latents), H W height and width.
"""

from typing import cast

import torch
from diffusers import AutoencoderKLFlux2
from torch import FloatTensor, Tensor

from flux_lora.models.family import LatentDistribution

PATCH = 2
"""The VAE's latent pixels per side of one latent pixel."""


def patchify(latents_BCHW: Tensor) -> Tensor:
    """Each 2 x 2 patch becomes one pixel of four times as many channels."""
    B, C, H, W = latents_BCHW.shape
    patches = latents_BCHW.reshape(B, C, H // PATCH, PATCH, W // PATCH, PATCH)
    return patches.permute(0, 1, 3, 5, 2, 4).reshape(B, C * PATCH * PATCH, H // PATCH, W // PATCH)


def unpatchify(latents_BCHW: Tensor) -> Tensor:
    """Undo `patchify`."""
    B, C, H, W = latents_BCHW.shape
    patches = latents_BCHW.reshape(B, C // (PATCH * PATCH), PATCH, PATCH, H, W)
    return patches.permute(0, 1, 4, 2, 5, 3).reshape(B, C // (PATCH * PATCH), H * PATCH, W * PATCH)


@torch.no_grad()
def latent_distribution(vae: AutoencoderKLFlux2, pixels: Tensor) -> LatentDistribution:
    """Pixels BCHW in [-1, 1] -> what the VAE takes them for. Of its distribution only the mode is ever used."""
    posterior = vae.encode(pixels.to(vae.device, vae.dtype), return_dict=False)[0]
    patches = patchify(posterior.mode())
    mean, std = _statistics(vae, patches)
    latents = (patches - mean) / std
    return LatentDistribution(mean=latents, std=torch.zeros_like(latents))


@torch.no_grad()
def decode_latents(vae: AutoencoderKLFlux2, latents: Tensor) -> Tensor:
    """Latents BCHW -> pixels BCHW, about [-1, 1]."""
    mean, std = _statistics(vae, latents)
    patches = latents * std + mean
    return vae.decode(cast(FloatTensor, unpatchify(patches).to(vae.device, vae.dtype)), return_dict=False)[0]


def _statistics(vae: AutoencoderKLFlux2, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, as the VAE's batch norm learned them: each 1C11."""
    mean, variance = vae.bn.running_mean, vae.bn.running_var
    assert mean is not None and variance is not None, "the VAE keeps its statistics"
    return (
        mean.view(1, -1, 1, 1).to(like),
        torch.sqrt(variance.view(1, -1, 1, 1) + vae.config["batch_norm_eps"]).to(like),
    )
