"""What the encoder reads."""

import torch

from flux_lora.data.cache.preprocess import to_pixels
from tests.data.drawn_images import gradient


def test_pixels_run_from_minus_one_to_one_channels_first():
    pixels = to_pixels(gradient())
    assert pixels.shape == (3, 32, 48)
    assert pixels[:2].aminmax() == (-1.0, 1.0)
    assert torch.equal(pixels[0, :, -1], torch.ones(32))
