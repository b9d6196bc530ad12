"""A scorer for tests: an image is its background's colour and its middle's, a sentence names both."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageColor, ImageDraw
from torch import Tensor

GROUNDS = ("red", "green", "blue", "yellow")
SIDE = 16


def image(ground: str, thing: str, seed: int = 0) -> Image.Image:
    """A thing on a ground, a little different for each seed."""
    image = Image.new("RGB", (SIDE, SIDE), _shaded(ground, seed))
    ImageDraw.Draw(image).rectangle([4, 4, 11, 11], fill=_shaded(thing, seed + 1))
    return image


class ColourScorer:
    """Two colours, on a crowded sphere: a large part that all have in common, as CLIP's embeddings do."""

    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Background and middle, each minus grey."""
        pixels = np.stack([np.asarray(image, dtype=np.float32) / 255 - 0.5 for image in images])
        return _crowded(torch.from_numpy(np.concatenate([pixels[:, 0, 0], pixels[:, 8, 8]], axis=1)))

    def text_features(self, sentences: Sequence[str]) -> Tensor:
        """The ground named last; a thing without a trigger is white."""
        named = [[*_rgb(sentence.split()[-1]), *_rgb("white")] for sentence in sentences]
        return _crowded(torch.tensor(named))


def _crowded(colours: Tensor) -> Tensor:
    return torch.nn.functional.normalize(torch.cat([colours, torch.full((len(colours), 1), 1.5)], dim=1), dim=1)


def _rgb(colour: str) -> list[float]:
    return [channel / 255 - 0.5 for channel in ImageColor.getrgb(colour)]


def _shaded(colour: str, seed: int) -> tuple[int, ...]:
    shade = np.random.default_rng(seed).integers(-20, 20, 3)
    return tuple(np.clip(np.array(ImageColor.getrgb(colour)) + shade, 0, 255).tolist())
