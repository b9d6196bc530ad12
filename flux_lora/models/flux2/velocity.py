"""FLUX.2 as a velocity: latents as tokens, positions, reference images.

Shape letters: B batch, C latent channels (128), H W latent height and width, N tokens, T text tokens.
Positions are (which image, row, column, which word).
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from diffusers import Flux2Transformer2DModel
from torch import Tensor

from flux_lora.models.family import PromptEmbeds, Velocity

REFERENCE_STEP = 10
"""References are images 10, 20, 30, ...; the one that is drawn is image 0."""


def pack(latents_BCHW: Tensor) -> Tensor:
    """Each latent pixel is a token, row by row: BNC."""
    return latents_BCHW.flatten(2).transpose(1, 2)


def unpack(tokens_BNC: Tensor, *, height: int, width: int) -> Tensor:
    """Undo `pack`, given the latent height and width: BCHW."""
    return tokens_BNC.transpose(1, 2).unflatten(2, (height, width))


@lru_cache(maxsize=64)
def positions(height: int, width: int, image: int, device: torch.device) -> Tensor:
    """Where each token of an image sits: N4. Read only."""
    axes = (torch.tensor([image]), torch.arange(height), torch.arange(width), torch.arange(1))
    return torch.cartesian_prod(*axes).to(device)


@lru_cache(maxsize=8)
def text_positions(tokens: int, device: torch.device) -> Tensor:
    """Which word each token is: T4. Read only."""
    zero = torch.arange(1)
    return torch.cartesian_prod(zero, zero, zero, torch.arange(tokens)).to(device)


def velocity_of(transformer: Flux2Transformer2DModel, *, guidance: float) -> Velocity:
    """Hide tokens and positions behind image-shaped tensors.

    Klein has no guidance embedder and is given None; a model that has one gets `guidance` in plain units. Sigma is
    passed as it is, in (0, 1): the transformer multiplies it by 1000 itself.
    """
    has_guidance_embeds = bool(transformer.config["guidance_embeds"])

    def velocity(
        noisy: Tensor, sigma: Tensor, prompt_embeds: PromptEmbeds, /, *, references: Sequence[Tensor] = ()
    ) -> Tensor:
        B, _, H, W = noisy.shape
        (text,) = prompt_embeds.tensors.values()
        device = noisy.device
        shown = [noisy, *(each.expand(B, -1, -1, -1) for each in references)]
        places = [
            positions(each.shape[2], each.shape[3], REFERENCE_STEP * number, device)
            for number, each in enumerate(shown)
        ]
        tokens = transformer(
            hidden_states=torch.cat([pack(each) for each in shown], dim=1),
            encoder_hidden_states=text,
            timestep=sigma,
            guidance=torch.full((B,), guidance, device=device) if has_guidance_embeds else None,
            img_ids=torch.cat(places),
            txt_ids=text_positions(prompt_embeds.window, device),
            return_dict=False,
        )[0]
        return unpack(tokens[:, : H * W], height=H, width=W)

    return velocity
