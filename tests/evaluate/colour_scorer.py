"""A scorer for tests: an image is its corners' colours, a sentence the corners of its ground."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scripts.mini.captions import ground_words
from scripts.mini.world import GROUNDS, Scene, draw_scene


class GroundScorer:
    """Corners and middle, on a crowded sphere: a large part that all have in common, as CLIP's embeddings do."""

    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Embed the four corners and the middle third."""
        return _crowded([_seen(image) for image in images])

    def text_features(self, sentences: Sequence[str]) -> Tensor:
        """Embed an empty scene of the ground that the sentence names; a plain gray one if it names none."""
        return _crowded([_seen(draw_scene(Scene((), _ground(sentence), 0))) for sentence in sentences])


def _ground(sentence: str) -> tuple[str, str]:
    return next((ground for ground in GROUNDS if ground_words(ground) in sentence), ("plain", "gray"))


def _seen(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BOX), np.float32) / 255 - 0.5
    corners = [pixels[y, x] for y in (2, 29) for x in (2, 7, 24, 29)]
    return np.concatenate([*corners, 0.3 * pixels[10:22, 4:28].mean((0, 1))])


def _crowded(rows: Sequence[np.ndarray]) -> Tensor:
    colours = torch.from_numpy(np.stack(rows)).float()
    return torch.nn.functional.normalize(torch.cat([colours, torch.full((len(colours), 1), 1.5)], dim=1), dim=1)
