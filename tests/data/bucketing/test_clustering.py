"""Groups share a bucket where that costs less than what it saves, and nobody is lost on the way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.data.bucketing.clustering import FEW, Floats, Worth, cluster, empty_places

WORTH = Worth(bucket=0.2, slot=0.3)


def line_of(spots: list[float], images: list[int]) -> tuple[Floats, Floats]:
    """Groups along a line of shapes: what each loses in each other's bucket is how far apart they are."""
    apart = np.abs(np.subtract.outer(spots, spots))
    return apart * np.array(images)[:, None], np.exp(np.stack([spots, spots], axis=1))


def shared(spots: list[float], images: list[int], batch_size: int) -> list[tuple[int, ...]]:
    costs, sides = line_of(spots, images)
    return sorted(each.groups for each in cluster(costs, images, sides, batch_size, WORTH))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 9)), min_size=1, max_size=12), st.sampled_from([1, 2, 4, 8]))
def test_every_group_has_one_bucket_and_sharing_never_costs_more_than_staying_apart(groups, batch_size):
    spots, images = [spot for spot, _ in groups], [count for _, count in groups]
    costs, sides = line_of(spots, images)
    found = cluster(costs, images, sides, batch_size, WORTH)
    assert sorted(group for each in found for group in each.groups) == list(range(len(groups)))

    def price(clusters) -> float:
        return sum(
            costs[list(members), bucket].sum()
            + WORTH.bucket
            + WORTH.slot * empty_places(sum(images[group] for group in members), batch_size)
            for members, bucket in clusters
        )

    apart = [((group,), group) for group in range(len(groups))]
    assert price((each.groups, each.bucket) for each in found) <= price(apart) + 1e-9


def test_what_is_close_shares_and_what_is_far_does_not():
    assert shared([0.0, 0.01, 0.9], [3, 3, 3], 1) == [(0, 1), (2,)]


def test_an_empty_place_is_filled_where_that_is_cheap():
    far = WORTH.bucket * 1.5
    assert shared([0.0, far], [3, 1], 1) == [(0,), (1,)]
    assert shared([0.0, far], [3, 1], 4) == [(0, 1)]


def test_a_group_between_two_goes_where_it_fills_a_batch():
    assert shared([0.0, 0.1, 0.2], [4, 1, 3], 4) == [(0,), (1, 2)]


def test_where_a_group_cannot_go_it_does_not():
    costs, sides = line_of([0.0, 0.01], [1, 1])
    costs[costs > 0] = np.inf
    assert len(cluster(costs, [1, 1], sides, 8, WORTH)) == 2


def test_many_groups_are_planned_too():
    spots = np.linspace(0, 3, FEW + 50).tolist()
    found = shared(spots, [1] * len(spots), 4)
    assert sorted(group for members in found for group in members) == list(range(len(spots)))
    assert len(found) < len(spots) / 3


@pytest.mark.parametrize(("images", "batch_size", "empty"), [(5, 4, 3), (8, 4, 0), (3, 1, 0), (1, 8, 7)])
def test_empty_places_are_those_of_batches_that_run_short(images, batch_size, empty):
    assert empty_places(images, batch_size) == empty
