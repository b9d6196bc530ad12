"""Latent images <-> token sequences.

Shape letters: B batch, C latent channels (16), H W latent height and width,
N image tokens (H/2 * W/2), D packed channels (4C), T text tokens.
"""

from functools import lru_cache

import torch
from torch import Tensor

PATCH = 2
"""Latent pixels per side of one token."""


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
    """Text has no place in the picture: zeros, T3. Read only."""
    return torch.zeros(tokens, 3, device=device)
