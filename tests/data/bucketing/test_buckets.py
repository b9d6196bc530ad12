"""Buckets have the area that was asked for, sides of whole steps, and no aspect beyond the longest."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.data.bucketing.buckets import LONGEST_ASPECT, Bucket, around, buckets

steps = st.sampled_from([4, 16, 32])
tokens = st.integers(4, 96)
aspects = st.floats(1, 4)
sides = st.floats(1, 8000)


@settings(deadline=None)
@given(tokens, steps, aspects)
def test_sides_are_whole_steps_and_the_area_is_about_right(tokens: int, step: int, longest: float):
    resolution = tokens * step
    for bucket in buckets(resolution, step, longest):
        assert bucket.width % step == bucket.height % step == 0
        off = abs(math.log(bucket.area / resolution**2))
        assert off <= step / 2 / (min(bucket.width, bucket.height) - step / 2)
        assert max(bucket.aspect, 1 / bucket.aspect) <= longest * (1 + 1e-12), "but for rounding"


@given(tokens, steps)
def test_a_resolution_has_its_square_and_each_bucket_turned(tokens: int, step: int):
    resolution = tokens * step
    offered = set(buckets(resolution, step))
    assert Bucket(resolution, resolution) in offered
    assert {Bucket(bucket.height, bucket.width) for bucket in offered} == offered


@given(sides, sides, steps, aspects)
def test_the_buckets_around_a_size_are_next_to_it_or_at_the_longest_aspect(
    width: float, height: float, step: int, longest: float
):
    for bucket in around(width, height, step, longest):
        assert bucket.width % step == bucket.height % step == 0
        assert min(bucket.width, bucket.height) >= step
        assert max(bucket.width, bucket.height) <= longest * min(bucket.width, bucket.height)
        assert bucket.width <= width + step and bucket.height <= height + step


def test_a_size_of_whole_steps_is_among_those_around_it():
    assert Bucket(640, 480) in around(640, 480, 16)
    assert Bucket(640, 480) in around(639.99999999, 480.00000001, 16)


def test_the_longest_buckets_are_four_to_one():
    assert Bucket(1024, 256) in buckets(512, 16)
    assert max(bucket.aspect for bucket in buckets(512, 16)) == LONGEST_ASPECT
