"""An image and its mask as the VAE and the loss take them: decoded, cropped to the bucket, pixels in [-1, 1], weights.

Shape letters: C channels (3), H W height and width, of pixels or, for weights, of latents.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from flux_lora.config.choices import AlphaPolicy, MaskMode
from flux_lora.data.bucketing.crops import crop_to_bucket, scale_box
from flux_lora.data.bucketing.plan import Prepared
from flux_lora.data.images.decode import Decoded, alpha_of_reference, decode
from flux_lora.data.images.masks import has_shape_of, read_mask
from flux_lora.data.images.resize import in_whole_tokens, resize_region
from flux_lora.errors import DataError

Weights = NDArray[np.float32]
"""HW in [0, 1]"""


def to_pixels(image: Image.Image) -> Tensor:
    """An RGB image as CHW in [-1, 1]."""
    values = torch.from_numpy(np.array(image, dtype=np.uint8))  # HWC
    return values.permute(2, 0, 1).float() / 127.5 - 1


@dataclass(frozen=True)
class PreprocessedImage:
    """One image and its loss weights, ready for the VAE."""

    image: Image.Image
    """RGB, exactly the size of its bucket."""
    weights: Weights | None
    """The mask's mean over the pixels of each latent; None without a mask."""

    @property
    def pixels_digest(self) -> str:
        """sha256 of the size and every pixel."""
        return digest_of_pixels(self.image)

    @property
    def weights_digest(self) -> str:
        """sha256 of the weights; empty without a mask."""
        return "" if self.weights is None else _digest(self.weights.shape, self.weights.tobytes())


def preprocess(prepared: Prepared, alpha: AlphaPolicy, masks: MaskMode, pixels_per_latent: int) -> PreprocessedImage:
    """Decode, no larger than is needed; crop and resize once; multiply the masks, averaged to latent pixels.

    DataError where a file cannot be used, has changed since it was planned, or its mask leaves nothing to learn.
    """
    decoded = decode(prepared.sample.image, alpha, cover=prepared.cover)
    _refuse_another_size(prepared, decoded)
    image = crop_to_bucket(decoded.image, prepared.box, prepared.bucket, of=decoded.spans)
    if masks is MaskMode.off:
        return PreprocessedImage(image, None)
    latent_masks = [_averaged(mask, prepared, pixels_per_latent) for mask in _masks(prepared, decoded)]
    if not latent_masks:
        return PreprocessedImage(image, None)
    weights = np.prod(latent_masks, axis=0, dtype=np.float32)
    if not weights.any():
        raise DataError(
            f"{prepared.sample.mask or prepared.sample.image} masks all of the image that is left after cropping",
            fix="paint white what should be learned, or take the mask away (data.masks=off ignores every mask)",
        )
    return PreprocessedImage(image, weights)


def preprocess_references(prepared: Prepared, alpha: AlphaPolicy, pixels_per_token: int) -> list[Image.Image]:
    """What the image is made from: cropped as it is where the shape is the same, else whole, at about the bucket's
    area in whole image tokens. DataError where a file cannot be used."""
    own = alpha_of_reference(alpha)
    return [_reference(file, prepared, own, pixels_per_token) for file in prepared.sample.references]


def digest_of_pixels(image: Image.Image) -> str:
    """sha256 of the size and every pixel."""
    return _digest(image.size, image.tobytes())


def _reference(file: Path, prepared: Prepared, alpha: AlphaPolicy, pixels_per_token: int) -> Image.Image:
    image, bucket = decode(file, alpha).image, prepared.bucket
    if has_shape_of(image, prepared.size):
        return crop_to_bucket(image, scale_box(prepared.box, prepared.size, image.size), bucket)
    size = in_whole_tokens(image.size, bucket.area, pixels_per_token)
    return resize_region(image, size, (0.0, 0.0, float(image.width), float(image.height)))


def _refuse_another_size(prepared: Prepared, decoded: Decoded) -> None:
    """DataError where the image has not the size for which its crop was planned."""
    expected = tuple(-(-side // decoded.reduced) for side in prepared.size)
    if decoded.image.size != expected:
        raise DataError(f"{prepared.sample.image} was changed while it was being prepared", fix="run it again")


def _masks(prepared: Prepared, decoded: Decoded) -> Iterator[Image.Image]:
    """Grey masks: the alpha channel, which decoding returns only under AlphaPolicy.mask, and the mask file."""
    if decoded.opacity is not None:
        yield decoded.opacity
    file = prepared.sample.mask
    if file is None:
        return
    mask, (width, height) = read_mask(file), prepared.size
    if not has_shape_of(mask, prepared.size):
        raise DataError(
            f"{file} is {mask.width}x{mask.height}, another shape than its image's {width}x{height}",
            fix="draw the mask over the whole image, upright",
        )
    yield mask


def _averaged(mask: Image.Image, prepared: Prepared, pixels_per_latent: int) -> Weights:
    """The crop's mean over the pixels of each latent."""
    part = scale_box(prepared.box, prepared.size, mask.size)
    edges = (max(0.0, part.left), max(0.0, part.top), min(mask.width, part.right), min(mask.height, part.bottom))
    size = (prepared.bucket.width // pixels_per_latent, prepared.bucket.height // pixels_per_latent)
    grey = mask.convert("F").resize(size, Image.Resampling.BOX, box=edges)
    return (np.asarray(grey) / 255).clip(0, 1).astype(np.float32)


def _digest(size: tuple[int, ...], content: bytes) -> str:
    return sha256(f"{size}|".encode() + content).hexdigest()
