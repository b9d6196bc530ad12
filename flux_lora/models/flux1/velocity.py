"""FLUX.1 as a velocity: packing of latents into tokens, positions, guidance, and the reference image of Kontext.

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
def positions(height: int, width: int, device: torch.device, image: int = 0) -> Tensor:
    """Where each token of a latent image sits, (image, row, column): N3. Latent height and width; read only. The image
    that is drawn is 0, Kontext's reference 1."""
    rows, columns = torch.meshgrid(
        torch.arange(height // PATCH, device=device), torch.arange(width // PATCH, device=device), indexing="ij"
    )
    return torch.stack([torch.full_like(rows, image), rows, columns], dim=-1).reshape(-1, 3).float()


@lru_cache(maxsize=8)
def text_positions(tokens: int, device: torch.device) -> Tensor:
    """Text has no place in the image: zeros, T3. Read only."""
    return torch.zeros(tokens, 3, device=device)


def velocity_of(transformer: FluxTransformer2DModel, *, guidance: float, most_references: int = 0) -> Velocity:
    """Hide packing, positions and guidance behind image-shaped tensors. Kontext takes one reference, of any size, as
    further tokens behind the image's, which alone are answered.

    Guidance is given in plain units (1.0 in training, 3.5 in rendering); a model without a guidance embedder
    (schnell) gets None. Sigma is passed as it is, in (0, 1): the transformer multiplies both by 1000 itself.
    """
    has_guidance_embeds = bool(transformer.config["guidance_embeds"])

    def velocity(
        noisy: Tensor, sigma: Tensor, prompt_embeds: PromptEmbeds, /, *, references: Sequence[Tensor] = ()
    ) -> Tensor:
        assert len(references) <= most_references, f"at most {most_references} reference images are taken"
        B, _, H, W = noisy.shape
        device = noisy.device
        shown = [noisy, *(each.expand(B, -1, -1, -1) for each in references)]
        places = [positions(*each.shape[2:], device, image) for image, each in enumerate(shown)]
        tokens = transformer(
            hidden_states=torch.cat([pack(each) for each in shown], dim=1),
            encoder_hidden_states=prompt_embeds["t5"],
            pooled_projections=prompt_embeds["pooled"],
            timestep=sigma,
            guidance=torch.full((B,), guidance, device=device) if has_guidance_embeds else None,
            img_ids=torch.cat(places),
            txt_ids=text_positions(prompt_embeds.window, device),
            return_dict=False,
        )[0]
        return unpack(tokens[:, : H * W // PATCH**2], height=H, width=W)

    return velocity
