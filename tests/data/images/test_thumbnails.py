"""Small images: whole, light, and the outline of a mask where the mask's edge is."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from flux_lora.data.images.resize import LONGEST, LONGEST_OF_MANY, bytes_data_uri, outline_of, thumbnail_of
from tests.data.drawn_images import gradient


def _opened(packed: bytes) -> Image.Image:
    return Image.open(BytesIO(packed))


@pytest.mark.parametrize(("size", "small"), [((640, 480), (160, 120)), ((480, 640), (120, 160)), ((40, 30), (40, 30))])
def test_a_thumbnail_is_the_whole_image_and_never_larger_than_it(size: tuple[int, int], small: tuple[int, int]) -> None:
    assert _opened(thumbnail_of(gradient(*size), count=20)).size == small


def test_an_image_of_extreme_shape_keeps_at_least_a_line() -> None:
    assert _opened(thumbnail_of(gradient(2000, 3), count=20)).size == (LONGEST, 1)


def test_many_images_have_smaller_thumbnails() -> None:
    assert max(_opened(thumbnail_of(gradient(640, 480), count=2000)).size) == LONGEST_OF_MANY


def test_a_thumbnail_is_the_same_each_time_and_a_few_kilobytes() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8))
    assert thumbnail_of(noise, count=20) == thumbnail_of(noise, count=20)
    assert len(thumbnail_of(noise, count=20)) < 20_000


def test_grey_and_transparent_images_have_thumbnails_too() -> None:
    for mode in ("L", "LA", "RGBA", "CMYK", "P", "1"):
        assert _opened(thumbnail_of(gradient(200, 100).convert(mode), count=20)).mode == "RGB"


def test_an_outline_follows_the_edge_of_its_mask_and_is_clear_elsewhere() -> None:
    mask = Image.new("L", (160, 120))
    mask.paste(255, (40, 30, 100, 90))
    drawn = np.asarray(_opened(outline_of(mask, count=20)).convert("RGBA"))[..., 3] > 0
    assert drawn[30, 40:100].all()
    assert drawn[30:90, 99].all()
    assert not drawn[32:88, 42:98].any()
    assert not drawn[:29].any()


def test_a_mask_that_reaches_the_edge_is_closed_there() -> None:
    drawn = np.asarray(_opened(outline_of(Image.new("L", (50, 40), 255), count=20)).convert("RGBA"))[..., 3] > 0
    assert drawn[0].all()
    assert drawn[:, -1].all()
    assert not drawn[1:-1, 1:-1].any()


def test_an_address_says_what_kind_of_image_it_holds() -> None:
    assert bytes_data_uri(thumbnail_of(gradient(), count=1)).startswith("data:image/jpeg;base64,")
    assert bytes_data_uri(outline_of(Image.new("L", (9, 9)), count=1)).startswith("data:image/png;base64,")
