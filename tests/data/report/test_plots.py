"""Sizes stand where they belong, however alike or different they are."""

from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.data.report.page import FEWEST_TICKS_APART, plot

side = st.integers(1, 60_000)


def test_equal_sizes_are_one_larger_dot() -> None:
    drawn = plot([(640, 480, False)] * 9 + [(800, 600, False)], [(512, 384)])
    assert [dot.label for dot in drawn.sizes] == ["640×480: 9 images", "800×600: 1 image"]
    assert drawn.sizes[0].radius > drawn.sizes[1].radius


def test_the_same_size_enlarged_and_not_is_two_dots() -> None:
    assert [dot.enlarged for dot in plot([(512, 512, True), (512, 512, False)], []).sizes] == [False, True]


def test_twice_the_side_is_the_same_distance_everywhere() -> None:
    a, b, c = plot([(256, 256, False), (512, 512, False), (1024, 1024, False)], []).sizes
    assert abs((b.x - a.x) - (c.x - b.x)) < 1e-9
    assert b.x + b.y == 100


@settings(max_examples=100)
@given(st.lists(st.tuples(side, side, st.booleans()), min_size=1, max_size=9), st.lists(st.tuples(side, side)))
def test_everything_stands_inside_and_no_two_labels_on_each_other(
    sizes: list[tuple[int, int, bool]], buckets: list[tuple[int, int]]
) -> None:
    drawn = plot(sizes, buckets)
    for dot in (*drawn.sizes, *drawn.buckets):
        assert 0 <= dot.x <= 100
        assert 0 <= dot.y <= 100
    places = [tick.at for tick in drawn.ticks]
    assert all(later - earlier >= FEWEST_TICKS_APART for earlier, later in zip(places, places[1:], strict=False))
