"""What a VAE says of a picture: not one latent image, but where it lies and how surely.

Shape letters: B batch, C latent channels, H W height and width in latents.
"""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LatentDistribution:
    """Latents in the transformer's units: a normal distribution for each number."""

    mean: Tensor  # BCHW
    std: Tensor  # BCHW, the standard deviation
