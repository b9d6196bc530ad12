"""How an image lies over what it was made from is measured to a pixel or two, and an edit is no move."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.data.image_stats.pair_stats import PairStats, measure_pair
from tests.data.drawn_pairs import WELL_LAID, grey, moved, painted, scene, zoomed


@pytest.mark.parametrize("edit", WELL_LAID.values(), ids=WELL_LAID)
@pytest.mark.parametrize("seed", range(6))
def test_an_edit_that_lies_over_its_image_is_not_called_moved(edit, seed: int):
    assert measure_pair(scene(seed), edit(scene(seed))) == PairStats()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.sampled_from([-0.1, -0.03, 0.02, 0.06]), st.sampled_from([-0.08, 0.0, 0.03]))
def test_a_move_is_measured_through_an_edit(seed: int, across: float, down: float):
    found = measure_pair(scene(seed), moved(across, down)(painted(scene(seed))))
    assert found.moved == pytest.approx((across, down), abs=0.011)


@pytest.mark.parametrize("by", [0.93, 0.96, 1.04, 1.08])
@pytest.mark.parametrize("seed", range(4))
def test_another_size_is_measured_through_an_edit(by: float, seed: int):
    found = measure_pair(scene(seed), zoomed(by)(painted(scene(seed))))
    assert found.zoom == pytest.approx(by, abs=0.025)


def test_the_same_image_is_said_to_be_and_one_without_its_colours_is_not():
    assert measure_pair(scene(), scene()).same
    assert not measure_pair(scene(), grey(scene())).same


@pytest.mark.parametrize("seed", range(1, 6))
def test_two_scenes_that_have_nothing_in_common_are_left_in_peace(seed: int):
    assert measure_pair(scene(0), scene(seed)) == PairStats()
