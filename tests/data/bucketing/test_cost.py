"""What a choice of buckets costs is what a person would count by hand."""

import pytest

from flux_lora.data.bucketing.assign import bucketing_cost, coarse_buckets
from flux_lora.data.bucketing.buckets import Bucket, Shape

WIDE, SMALL = Shape(200, 100, 96), Shape(50, 50, 96)
SQUARE = Bucket(96, 96)


def test_each_share_is_of_what_it_is_named_for():
    found = bucketing_cost({WIDE: 1, SMALL: 1}, {WIDE: SQUARE, SMALL: SQUARE}, 4)
    assert found.cropped == pytest.approx(0.25)
    assert found.enlarged == pytest.approx((1 - (50 / 96) ** 2) / 2)
    assert (found.missed, found.empty, found.buckets) == (0, 0.5, 0.5)
    assert found.total == pytest.approx(0.25 + found.enlarged + 1)


def test_an_image_counts_as_often_as_it_is_shown():
    found = bucketing_cost({WIDE: 3, SMALL: 1}, {WIDE: SQUARE, SMALL: Bucket(48, 48)}, 1)
    assert found.cropped == pytest.approx(3 / 4 * 0.5)
    assert found.missed == pytest.approx(1 / 4 * (1 - 48**2 / 50**2))
    assert (found.empty, found.enlarged, found.buckets) == (0, 0, 0.5)


def test_the_plain_way_takes_the_nearest_shape_of_a_coarse_list_and_enlarges_what_is_small():
    shapes = [Shape(6000, 4000, 1024), Shape(300, 200, 1024), Shape(1080, 1080, 512)]
    assert list(coarse_buckets(shapes).values()) == [Bucket(1216, 832), Bucket(1216, 832), Bucket(512, 512)]
