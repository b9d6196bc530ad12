"""FLUX.1 as a velocity: packing of latents into tokens, positions, guidance.

Shape letters: B batch, C latent channels (16), H W latent height and width,
N image tokens (H/2 * W/2), D packed channels (4C), T text tokens.
"""

from collections.abc import Sequence
from functools import lru_cache

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from flux_lora.models.family import PromptEmbeds, Velocity
from flux_lora.models.flux1.layers import PATCH


def pack(latents_BCHW: Tensor) -> Tensor:
    """Fold each 2x2 patch of a latent image into one token: BCHW -> BND."""
    B, C, H, W = latents_BCHW.shape
    patches = latents_BCHW.reshape(B, C, H // PATCH, PATCH, W // PATCH, PATCH)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(B, (H // PATCH) * (W // PATCH), C * PATCH * PATCH)


def unpack(tokens_BND: Tensor, *, height: int, width: int) -> Tensor:
    """Undo `pack`, given the latent height and width: BND -> BCHW."""
    B, _, D = tokens_BND.shape
    patches = tokens_BND.reshape(B, height // PATCH, width // PATCH, D // (PATCH * PATCH), PATCH, PATCH)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(B, D // (PATCH * PATCH), height, width)


@lru_cache(maxsize=64)
def positions(height: int, width: int, device: torch.device) -> Tensor:
    """Where each token of a latent image sits, (0, row, column): N3. Latent height and width; read only."""
    rows, columns = torch.meshgrid(
        torch.arange(height // PATCH, device=device), torch.arange(width // PATCH, device=device), indexing="ij"
    )
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).reshape(-1, 3).float()


@lru_cache(maxsize=8)
def text_positions(tokens: int, device: torch.device) -> Tensor:
    """Text has no place in the image: zeros, T3. Read only."""
    return torch.zeros(tokens, 3, device=device)


def velocity_of(transformer: FluxTransformer2DModel, *, guidance: float) -> Velocity:
    """Hide packing, positions and guidance behind image-shaped tensors.

    Guidance is given in plain units (1.0 in training, 3.5 in rendering); a model without a guidance embedder
    (schnell) gets None. Sigma is passed as it is, in (0, 1): the transformer multiplies both by 1000 itself.
    """
    has_guidance_embeds = bool(transformer.config["guidance_embeds"])

    def velocity(
        noisy: Tensor, sigma: Tensor, prompt_embeds: PromptEmbeds, /, *, references: Sequence[Tensor] = ()
    ) -> Tensor:
        assert not references, "FLUX.1 dev and schnell take no reference images"
        B, _, H, W = noisy.shape
        device = noisy.device
        tokens = transformer(
            hidden_states=pack(noisy),
            encoder_hidden_states=prompt_embeds["t5"],
            pooled_projections=prompt_embeds["pooled"],
            timestep=sigma,
            guidance=torch.full((B,), guidance, device=device) if has_guidance_embeds else None,
            img_ids=positions(H, W, device),
            txt_ids=text_positions(prompt_embeds.window, device),
            return_dict=False,
        )[0]
        return unpack(tokens, height=H, width=W)

    return velocity
