"""The bucket that an image alone would have: its shape, its area, and never enlarged without leave."""

import math
from random import Random

import pytest

from flux_lora.data.bucketing.buckets import (
    SMALLEST,
    Bucket,
    BucketLimits,
    Shape,
    largest_area,
    lost_in,
    own_bucket,
    scale_into,
)

MEGAPIXEL = 1024**2


def own(width: int, height: int, resolution: int = 1024, **limits: float) -> Bucket:
    return own_bucket(Shape(width, height, resolution), BucketLimits(16, **limits)).bucket


def test_ten_thousand_random_images_find_a_bucket_within_every_limit():
    random = Random(0)
    for _ in range(10_000):
        width, height = (int(2 ** random.uniform(4, 14)) for _ in range(2))
        limits = BucketLimits(
            random.choice([4, 16, 32]), random.choice([1.0, 2.0, 3.0, 4.0]), random.choice([1.0, 1.05, 2.0])
        )
        resolution = limits.step * random.randint(4, 96)
        alone = own_bucket(Shape(width, height, resolution), limits)
        bucket = alone.bucket
        assert bucket.width % limits.step == bucket.height % limits.step == 0
        assert max(bucket.width, bucket.height) <= limits.longest_aspect * min(bucket.width, bucket.height)
        assert bucket.area <= largest_area(resolution, limits.step, limits.longest_aspect)
        assert lost_in(width, height, bucket) >= -1e-9
        if alone.target_area > min(resolution, SMALLEST) ** 2:
            assert scale_into(width, height, bucket) <= limits.max_upscale + 1e-5


def test_photos_of_common_shapes_keep_their_shape_and_their_megapixel():
    """kohya's default cap on the long side trains 3:2 at 0.72 and 16:9 at 0.59 megapixels (1024 wished for)."""
    for width, height in [(6000, 4000), (4000, 6000), (3840, 2160), (2160, 3840), (4032, 3024), (3000, 3000)]:
        bucket = own(width, height)
        assert bucket.area >= 0.97 * MEGAPIXEL
        assert lost_in(width, height, bucket) < 0.01


@pytest.mark.parametrize(("width", "height"), [(6000, 4000), (2160, 3840), (1080, 1350)])
def test_nothing_is_cropped_to_a_square_that_is_not_one(width, height):
    """fluxgym leaves bucketing off: every image becomes a square from its middle."""
    bucket = own(width, height, 512)
    assert math.log(bucket.aspect) * math.log(width / height) > 0
    assert lost_in(width, height, bucket) < 0.03


def test_an_image_smaller_than_the_resolution_keeps_its_own_size():
    assert own(800, 600, max_upscale=1.0) == Bucket(800, 592)
    assert own(490, 490, max_upscale=1.0) == Bucket(480, 480)


def test_an_image_that_is_all_but_large_enough_fills_the_resolution():
    assert own(1000, 1000) == Bucket(1024, 1024)
    assert own(960, 960) == Bucket(960, 960)


def test_an_image_may_be_enlarged_as_far_as_the_setting_says():
    assert own(800, 800, max_upscale=1.28) == Bucket(1024, 1024)
    assert own(800, 800, max_upscale=1.1) == Bucket(800, 800)
    assert own(800, 800, max_upscale=1.0) == Bucket(800, 800)


def test_below_a_floor_an_image_is_enlarged_after_all():
    assert own(100, 100) == Bucket(SMALLEST, SMALLEST)
    assert own(48, 32, 64) == Bucket(80, 48)


def test_a_long_image_is_cropped_to_the_longest_aspect_and_no_further():
    bucket = own(8000, 800)
    assert bucket == Bucket(2048, 512)
    assert lost_in(8000, 800, bucket) == pytest.approx(0.6)
    assert own(8000, 800, longest_aspect=2.0).aspect == 2.0
    assert own(3200, 800) == Bucket(2048, 512)


def test_an_image_turned_on_its_side_gets_the_turned_bucket():
    random = Random(1)
    for _ in range(500):
        width, height, resolution = random.randint(20, 5000), random.randint(20, 5000), 16 * random.randint(4, 64)
        upright, turned = own(width, height, resolution), own(height, width, resolution)
        assert (turned.width, turned.height) == (upright.height, upright.width)
