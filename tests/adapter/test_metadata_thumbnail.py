"""The small image in a file."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from flux_lora.adapter.metadata import MOST_BYTES, thumbnail


def opened(uri: str) -> Image.Image:
    kind, _, coded = uri.partition(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(BytesIO(b64decode(coded)))


@pytest.mark.parametrize("size", [(1024, 512), (7, 3), (256, 256)])
def test_a_thumbnail_keeps_the_shape_and_is_small(size: tuple[int, int]):
    small = opened(thumbnail(Image.new("RGB", size, "teal")))
    assert small.format == "JPEG" and max(small.size) == min(256, max(size))
    assert small.width / small.height == pytest.approx(size[0] / size[1], rel=0.02)


def test_noise_too_fits_into_64_kb():
    pixels = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    uri = thumbnail(Image.fromarray(pixels))
    assert len(b64decode(uri.partition(",")[2])) <= MOST_BYTES


def test_what_is_transparent_becomes_white():
    assert opened(thumbnail(Image.new("RGBA", (32, 32), (255, 0, 0, 0)))).getpixel((5, 5)) == (255, 255, 255)
