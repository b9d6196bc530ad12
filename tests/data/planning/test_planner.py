"""Buckets are chosen for the set: as many as it needs, and no more than its batches can use."""

from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.data.planning.buckets import Bucket
from flux_lora.data.planning.coarse import coarse
from flux_lora.data.planning.placing import SMALLEST, Limits, Shape, largest_area, lost_in, own_place, scale_into
from flux_lora.data.planning.planner import BEHIND, LADDER, choose, price
from flux_lora.data.planning.sharing import empty_places
from flux_lora.data.planning.toll import toll

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
@given(sets, st.integers(1, 8), st.sampled_from([0.0, 0.1, 0.15, 0.25]))
def test_sharing_a_bucket_never_crops_or_shrinks_a_picture_beyond_the_limits(shown, batch_size, most_cropped):
    limits = Limits(most_cropped=most_cropped)
    rungs = [LADDER[0], *(terms for terms in LADDER if terms.most_lost <= most_cropped)]
    for shape, bucket in choose(shown, limits, batch_size).items():
        place = own_place(shape, limits)
        assert bucket.area >= min(place.bucket.area, (1 - rungs[-1].most_missed) * place.wanted) - 1
        alone = lost_in(shape.width, shape.height, place.bucket)
        short, long = sorted((shape.width, shape.height))
        lost = 1 - (1 - rungs[-1].most_lost) * min(1, limits.longest_aspect * short / long)
        assert lost_in(shape.width, shape.height, bucket) <= max(alone, lost) + 1e-9


@few
@given(sets, st.integers(1, 8))
def test_a_picture_is_cropped_more_than_a_tenth_only_where_the_plain_way_costs_less_than_sparing_it(shown, batch_size):
    sparing = choose(shown, Limits(most_cropped=0), batch_size)
    chosen = choose(shown, LIMITS, batch_size)
    enough = price(shown, coarse(shown), batch_size) + BEHIND
    assert chosen == sparing or price(shown, sparing, batch_size) > enough


def test_a_small_set_of_many_shapes_gives_more_where_its_batches_would_be_half_empty():
    """Twenty pictures of a scraped set; kohya's buckets cost it 51 points."""
    sizes = [(564, 860), (564, 896), (800, 1038), (1024, 1413), (1080, 1350), (600, 552), (960, 921), (1600, 1382)]
    sizes += [(1080, 1080), (1080, 1080), (960, 753), (1024, 753), (1024, 768), (1600, 1067), (1200, 630)]
    sizes += [(1024, 683), (1024, 683), (1200, 800), (1200, 800), (1200, 800)]
    shown = Counter(Shape(*size, 512) for size in sizes)
    sparing, chosen = (choose(shown, Limits(most_cropped=most), 4) for most in (0.1, 0.25))
    plain = toll(shown, coarse(shown), 4).total
    assert toll(shown, sparing, 4).total > plain + 0.1
    assert toll(shown, chosen, 4).total <= plain + BEHIND


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


def test_three_pictures_of_two_shapes_are_not_cropped_where_no_batch_would_be_fuller_for_it():
    shown = {Shape(1200, 1590, 256): 1, Shape(1200, 1200, 256): 2}
    chosen = choose(shown, Limits(), 1)
    assert max(lost_in(shape.width, shape.height, bucket) for shape, bucket in chosen.items()) < 0.05


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
