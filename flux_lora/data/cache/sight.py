"""A picture and its mask as the encoder sees them: decoded, cut to the bucket, and how much each place counts.

Shape letters: H W height and width in latents.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image

from flux_lora.config.choices import AlphaPolicy, MaskMode
from flux_lora.data.pictures.decode import Decoded, decode
from flux_lora.data.pictures.masks import has_shape_of, read_mask
from flux_lora.data.planning.crops import crop_to_bucket, scale_box
from flux_lora.data.planning.plan import Prepared
from flux_lora.errors import DataError

PIXELS_PER_LATENT = 8
"""Pixels per side of one latent pixel."""


@dataclass(frozen=True)
class PreprocessedImage:
    """One picture, ready for the encoder."""

    picture: Image.Image
    """RGB, exactly the size of its bucket."""
    weights: np.ndarray | None
    """HW in [0, 1], the mask's mean over the pixels of each latent; None where everything counts."""

    @property
    def pixels_digest(self) -> str:
        """A digest of the size and every pixel."""
        return _digest(self.picture.size, self.picture.tobytes())

    @property
    def weights_digest(self) -> str:
        """A digest of the mask; empty where there is none."""
        return "" if self.weights is None else _digest(self.weights.shape, self.weights.tobytes())


def preprocess(one: Prepared, alpha: AlphaPolicy, masks: MaskMode) -> PreprocessedImage:
    """Decode no more than is needed, cut once, and lay the masks on."""
    decoded = decode(one.sample.image, alpha, cover=one.cover)
    _refuse_another_size(one, decoded)
    picture = crop_to_bucket(decoded.picture, one.box, one.bucket, of=decoded.spans)
    if masks is MaskMode.off:
        return PreprocessedImage(picture, None)
    layers = [_averaged(layer, one) for layer in _layers(one, decoded)]
    if not layers:
        return PreprocessedImage(picture, None)
    weights = np.prod(layers, axis=0, dtype=np.float32)
    if not weights.any():
        raise DataError(
            f"{one.sample.mask or one.sample.image} masks all of the picture that is left after cropping",
            fix="paint white what should be learned, or take the mask away (data.masks=off ignores every mask)",
        )
    return PreprocessedImage(picture, weights)


def _refuse_another_size(one: Prepared, decoded: Decoded) -> None:
    """The crop was chosen for the picture as it was when the set was planned."""
    expected = tuple(-(-side // decoded.reduced) for side in one.size)
    if decoded.picture.size != expected:
        raise DataError(f"{one.sample.image} was changed while it was being prepared", fix="run it again")


def _layers(one: Prepared, decoded: Decoded) -> Iterator[Image.Image]:
    """Everything that says how much a place counts, grey. The decoder gives opacity only where it is the mask."""
    if decoded.opacity is not None:
        yield decoded.opacity
    if one.sample.mask is not None:
        yield _mask(one.sample.mask, one)


def _mask(file: Path, one: Prepared) -> Image.Image:
    grey = read_mask(file)
    if not has_shape_of(grey, one.size):
        raise DataError(
            f"{file} is {grey.width}x{grey.height}, another shape than its picture's {one.size[0]}x{one.size[1]}",
            fix="draw the mask over the whole picture, upright",
        )
    return grey


def _averaged(layer: Image.Image, one: Prepared) -> np.ndarray:
    """The mean over the pixels of each latent, HW in [0, 1]."""
    part = scale_box(one.box, one.size, layer.size)
    edges = (max(0.0, part.left), max(0.0, part.top), min(layer.width, part.right), min(layer.height, part.bottom))
    to = (one.bucket.width // PIXELS_PER_LATENT, one.bucket.height // PIXELS_PER_LATENT)
    grey = layer.convert("F").resize(to, Image.Resampling.BOX, box=edges)
    return (np.asarray(grey) / 255).clip(0, 1).astype(np.float32)


def _digest(size: tuple[int, ...], content: bytes) -> str:
    return sha256(f"{size}|".encode() + content).hexdigest()
