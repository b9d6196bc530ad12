"""Buckets are chosen for the set: as many as it needs, and no more than its batches can use."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.data.planning.buckets import Bucket
from flux_lora.data.planning.placing import SMALLEST, Limits, Shape, largest_area, lost_in, own_place, scale_into
from flux_lora.data.planning.planner import MOST_LOST_TO_SHARING, MOST_MISSED_BY_SHARING, choose
from flux_lora.data.planning.sharing import empty_places

LIMITS = Limits()
sides = st.integers(64, 6000)
sets = st.dictionaries(
    st.builds(Shape, sides, sides, st.sampled_from([512, 1024])), st.integers(1, 5), min_size=1, max_size=25
)
few = settings(max_examples=60, deadline=None)


def short_places(chosen: dict[Shape, Bucket], shown: Counter[Shape], batch_size: int) -> int:
    filled: Counter[Bucket] = Counter()
    for shape, times in shown.items():
        filled[chosen[shape]] += times
    return sum(empty_places(count, batch_size) for count in filled.values())


@few
@given(sets, st.integers(1, 8))
def test_every_shape_gets_a_bucket_that_it_fills_without_being_enlarged(shown, batch_size):
    chosen = choose(shown, LIMITS, batch_size)
    assert set(chosen) == set(shown)
    for shape, bucket in chosen.items():
        place = own_place(shape, LIMITS)
        allowed = max(LIMITS.most_enlarged, scale_into(shape.width, shape.height, place.bucket))
        assert scale_into(shape.width, shape.height, bucket) <= allowed + 1e-5
        assert bucket.area <= largest_area(shape.resolution)
        assert bucket.area >= SMALLEST**2 * 0.8


@few
@given(sets, st.integers(1, 8))
def test_sharing_a_bucket_never_crops_or_shrinks_a_picture_much(shown, batch_size):
    for shape, bucket in choose(shown, LIMITS, batch_size).items():
        place = own_place(shape, LIMITS)
        assert bucket.area >= min(place.bucket.area, (1 - MOST_MISSED_BY_SHARING) * place.wanted) - 1
        alone = lost_in(shape.width, shape.height, place.bucket)
        short, long = sorted((shape.width, shape.height))
        lost = 1 - (1 - MOST_LOST_TO_SHARING) * min(1, LIMITS.longest_aspect * short / long)
        assert lost_in(shape.width, shape.height, bucket) <= max(alone, lost) + 1e-9


@few
@given(sets, st.integers(1, 8), st.randoms(use_true_random=False))
def test_the_order_of_the_set_changes_nothing(shown, batch_size, random: Random):
    mixed = list(shown.items())
    random.shuffle(mixed)
    assert choose(dict(mixed), LIMITS, batch_size) == choose(shown, LIMITS, batch_size)


def test_pictures_of_almost_one_shape_share_a_bucket():
    shown = Counter({Shape(4000 + step, 3000, 1024): 1 for step in range(0, 120, 10)})
    assert len(set(choose(shown, LIMITS, 4).values())) == 1


def test_pictures_of_clearly_different_shapes_do_not():
    shown = Counter({Shape(4000, 3000, 1024): 3, Shape(3000, 4000, 1024): 3, Shape(3000, 3000, 1024): 3})
    chosen = choose(shown, LIMITS, 4)
    assert len(set(chosen.values())) == 3
    assert all(lost_in(shape.width, shape.height, bucket) < 0.01 for shape, bucket in chosen.items())


def test_a_larger_batch_makes_a_small_set_share_more():
    random = Random(0)
    shown = Counter(Shape(random.randint(1500, 4000), random.randint(1500, 4000), 1024) for _ in range(24))
    alone, together = choose(shown, LIMITS, 1), choose(shown, LIMITS, 8)
    assert len(set(together.values())) < len(set(alone.values()))
    assert short_places(together, shown, 8) < short_places(alone, shown, 8)


def test_a_picture_asked_for_at_two_resolutions_has_a_bucket_for_each():
    shown = Counter({Shape(4000, 3000, side): 2 for side in (512, 1024)})
    small, large = (choose(shown, LIMITS, 4)[Shape(4000, 3000, side)] for side in (512, 1024))
    assert large.area > 3 * small.area


def test_no_shapes_are_no_trouble_for_a_lone_one():
    assert set(choose({Shape(640, 640, 512): 1}, LIMITS, 4).values()) == {Bucket(512, 512)}
