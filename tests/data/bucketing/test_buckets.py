"""Buckets have the area that was asked for, sides of whole steps, and no aspect beyond the longest."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.data.bucketing.buckets import LONGEST_ASPECT, SIDE_STEP, Bucket, around, buckets

resolutions = st.integers(4, 96).map(lambda steps: steps * SIDE_STEP)
aspects = st.floats(1, 4)
sides = st.floats(1, 8000)


@settings(deadline=None)
@given(resolutions, aspects)
def test_sides_are_whole_steps_and_the_area_is_about_right(resolution: int, longest: float):
    for bucket in buckets(resolution, longest):
        assert bucket.width % SIDE_STEP == bucket.height % SIDE_STEP == 0
        off = abs(math.log(bucket.area / resolution**2))
        assert off <= SIDE_STEP / 2 / (min(bucket.width, bucket.height) - SIDE_STEP / 2)
        assert max(bucket.aspect, 1 / bucket.aspect) <= longest


@given(resolutions)
def test_a_resolution_has_its_square_and_each_bucket_turned(resolution: int):
    offered = set(buckets(resolution))
    assert Bucket(resolution, resolution) in offered
    assert {Bucket(bucket.height, bucket.width) for bucket in offered} == offered


@given(sides, sides, aspects)
def test_the_buckets_around_a_size_are_next_to_it_or_at_the_longest_aspect(width: float, height: float, longest: float):
    for bucket in around(width, height, longest):
        assert bucket.width % SIDE_STEP == bucket.height % SIDE_STEP == 0
        assert min(bucket.width, bucket.height) >= SIDE_STEP
        assert max(bucket.width, bucket.height) <= longest * min(bucket.width, bucket.height)
        assert bucket.width <= max(SIDE_STEP, width + SIDE_STEP) and bucket.height <= max(SIDE_STEP, height + SIDE_STEP)


def test_a_size_of_whole_steps_is_among_those_around_it():
    assert Bucket(640, 480) in around(640, 480)
    assert Bucket(640, 480) in around(639.99999999, 480.00000001)


def test_the_longest_buckets_are_four_to_one():
    assert Bucket(1024, 256) in buckets(512)
    assert max(bucket.aspect for bucket in buckets(512)) == LONGEST_ASPECT
