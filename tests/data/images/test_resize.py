"""However it is computed, a resized image is Pillow's Lanczos."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flux_lora.data.images import resize
from flux_lora.data.images.resize import resize_region, torch_knows_lanczos
from tests.data.drawn_images import gradient

NOISE = Image.fromarray(np.random.default_rng(0).integers(80, 176, (90, 120, 3), dtype=np.uint8))
ALIKE_DB = 48
"""A level off in every pixel. Noise is the hardest case (photographs agree to 70), and full-range noise would clip."""


def difference(one: Image.Image, other: Image.Image) -> int:
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other)).max())


@pytest.mark.skipif(not torch_knows_lanczos(), reason="this torch has no Lanczos")
@settings(max_examples=60)
@given(st.tuples(st.integers(8, 200), st.integers(8, 200)), st.integers(0, 59), st.integers(0, 44))
def test_both_ways_show_the_same_part_alike(size, left, top):
    whole = (left, top, 120 - left, 90 - top)
    by_pillow = NOISE.crop(whole).resize(size, Image.Resampling.LANCZOS)
    wrong = np.asarray(resize_region(NOISE, size, whole)).astype(float) - np.asarray(by_pillow)
    assert np.square(wrong).mean() <= 255**2 / 10 ** (ALIKE_DB / 10)


def test_a_torch_without_lanczos_leaves_it_to_pillow(monkeypatch):
    monkeypatch.setattr(resize, "torch_knows_lanczos", lambda: False)
    by_pillow = NOISE.crop((3, 4, 100, 80)).resize((50, 40), Image.Resampling.LANCZOS)
    assert difference(resize_region(NOISE, (50, 40), (3, 4, 100, 80)), by_pillow) == 0


def test_an_image_of_the_right_size_is_not_touched():
    assert difference(resize_region(gradient(), (48, 32), (0, 0, 48, 32)), gradient()) == 0
    assert difference(resize_region(gradient(), (24, 16), (5, 5, 29, 21)), gradient().crop((5, 5, 29, 21))) == 0


@given(
    st.tuples(st.floats(0, 47.99), st.floats(0, 31.99)),
    st.tuples(st.floats(0.01, 48), st.floats(0.01, 32)),
)
def test_edges_become_whole_pixels_within_the_image(start, extent):
    end = (min(48.0, start[0] + extent[0]), min(32.0, start[1] + extent[1]))
    left, top, right, bottom = resize._rounded((*start, *end), (48, 32))
    assert 0 <= left < right <= 48
    assert 0 <= top < bottom <= 32
    assert max(abs(left - start[0]), abs(top - start[1])) <= 1


def test_a_part_that_is_moved_by_less_than_half_a_pixel_is_the_same_part():
    assert (
        difference(
            resize_region(NOISE, (50, 40), (3.4, 3.6, 100.2, 79.7)), resize_region(NOISE, (50, 40), (3, 4, 100, 80))
        )
        == 0
    )


def test_the_input_is_not_changed():
    before = NOISE.tobytes()
    resize_region(NOISE, (30, 30), (0, 0, 90, 90))
    assert NOISE.tobytes() == before


def test_decoding_waits_for_no_torch():
    look = "import sys, flux_lora.data.images.decode, flux_lora.data.images.resize; print('torch' in sys.modules)"
    seen = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "False"
