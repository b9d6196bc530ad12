"""A picture as the encoder sees it: decoded and cut to the bucket."""

from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from PIL import Image

from flux_lora.config.choices import AlphaPolicy, MaskMode
from flux_lora.data.decode import fit, open_image
from flux_lora.data.plan import Prepared


@dataclass(frozen=True)
class Sight:
    """One picture, ready for the encoder."""

    picture: Image.Image
    """RGB, exactly the size of its bucket."""
    weights: np.ndarray | None
    """HW in [0, 1], averaged over the pixels of each latent; None where everything counts."""

    @property
    def pixels_digest(self) -> str:
        """A digest of the size and every pixel."""
        return _digest(self.picture.size, self.picture.tobytes())

    @property
    def weights_digest(self) -> str:
        """A digest of the mask; empty where there is none."""
        return "" if self.weights is None else _digest(self.weights.shape, self.weights.tobytes())


def see(one: Prepared, alpha: AlphaPolicy, masks: MaskMode) -> Sight:
    """Decode and cut."""
    assert masks in MaskMode
    return Sight(fit(open_image(one.sample.image, alpha), one.bucket), None)


def _digest(size: tuple[int, ...], content: bytes) -> str:
    return sha256(f"{size}|".encode() + content).hexdigest()
