"""Every picture finds the bucket of its shape."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_lora.data.buckets import LONGEST_ASPECT, SIDE_STEP, Bucket, bucket_for, buckets

resolutions = st.integers(4, 64).map(lambda steps: steps * SIDE_STEP)
sides = st.integers(1, 8000)


@given(sides, sides, resolutions)
def test_sides_are_multiples_of_sixteen_and_the_area_is_about_right(width: int, height: int, resolution: int):
    bucket = bucket_for(width, height, resolution)
    assert bucket.width % SIDE_STEP == bucket.height % SIDE_STEP == 0
    off = abs(math.log(bucket.width * bucket.height / resolution**2))
    assert off <= SIDE_STEP / 2 / (min(bucket.width, bucket.height) - SIDE_STEP / 2)
    assert max(bucket.width, bucket.height) <= LONGEST_ASPECT * min(bucket.width, bucket.height)


@given(sides, sides, resolutions)
def test_no_other_bucket_is_nearer_in_shape(width: int, height: int, resolution: int):
    chosen = bucket_for(width, height, resolution)

    def off_shape(bucket: Bucket) -> float:
        return abs(math.log(bucket.width / bucket.height * height / width))

    assert off_shape(chosen) <= min(off_shape(bucket) for bucket in buckets(resolution)) + 1e-8


@given(sides, sides, resolutions)
def test_a_picture_turned_on_its_side_gets_the_turned_bucket(width: int, height: int, resolution: int):
    upright, turned = bucket_for(width, height, resolution), bucket_for(height, width, resolution)
    assert (turned.width, turned.height) == (upright.height, upright.width)


@given(resolutions)
def test_a_square_picture_gets_the_square_of_the_resolution(resolution: int):
    assert bucket_for(777, 777, resolution) == Bucket(resolution, resolution)


@pytest.mark.parametrize(
    ("size", "resolution", "expected"),
    [((4032, 3024), 1024, (1184, 880)), ((3000, 2000), 512, (624, 416)), ((3024, 4032), 128, (112, 144))],
)
def test_photos_of_common_shapes(size, resolution, expected):
    bucket = bucket_for(*size, resolution)
    assert (bucket.width, bucket.height) == expected
