"""No sample is dropped or favoured, whatever the batch size and the number of processes."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.data.batches import Groups, batches_per_epoch, group_by_shape, sample_indices_at, share_of_rank

batch_sizes = st.integers(1, 9)
seeds = st.integers(0, 2**32)
worlds = st.integers(1, 5)
repeats = st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=7), min_size=1, max_size=4)
"""How often each sample of each bucket is shown in an epoch."""

few = settings(max_examples=100, deadline=None)


def groups_of(buckets: list[list[int]]) -> Groups:
    """Samples numbered through all buckets."""
    start, groups = 0, []
    for times in buckets:
        groups.append(tuple(start + place for place, often in enumerate(times) for _ in range(often)))
        start += len(times)
    return tuple(groups)


@few
@given(repeats, batch_sizes, seeds, worlds, st.integers(0, 3))
def test_an_epoch_shows_every_sample_exactly_as_often_as_it_should(buckets, size, seed, world, epoch):
    groups = groups_of(buckets)
    length = batches_per_epoch(groups, size)
    seen: Counter[int] = Counter()
    for number in range(epoch * length, (epoch + 1) * length):
        members = sample_indices_at(groups, size, seed, number)
        for rank in range(world):
            seen.update(members[place] for place in share_of_rank(len(members), rank, world))
    assert seen == Counter(number for group in groups for number in group)


@few
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), batch_sizes, seeds, st.integers(1, 60))
def test_samples_shown_once_an_epoch_never_differ_by_more_than_one(sizes, size, seed, count):
    groups = groups_of([[1] * members for members in sizes])
    seen = Counter({number: 0 for group in groups for number in group})
    for number in range(count):
        seen.update(sample_indices_at(groups, size, seed, number))
    assert max(seen.values()) - min(seen.values()) <= 1


@few
@given(repeats, batch_sizes, seeds)
def test_a_batch_is_of_one_bucket_never_too_large_and_near_even(buckets, size, seed):
    groups = groups_of(buckets)
    for number in range(batches_per_epoch(groups, size)):
        members = sample_indices_at(groups, size, seed, number)
        home = next(group for group in groups if members[0] in group)
        assert set(members) <= set(home)
        parts = -(-len(home) // size)
        assert len(home) // parts <= len(members) <= size


@few
@given(st.integers(0, 20), worlds)
def test_processes_share_a_batch_without_overlap_and_almost_evenly(places, world):
    parts = [share_of_rank(places, rank, world) for rank in range(world)]
    assert sorted(place for part in parts for place in part) == list(range(places))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_sample_comes_again_only_when_its_bucket_has_been_shown_whole():
    groups = groups_of([[3, 3, 3, 3, 3]])
    order = [sample_indices_at(groups, 1, 0, number)[0] for number in range(15)]
    rounds = Counter(number for number in order)
    assert set(rounds.values()) == {3}
    batches = [sample_indices_at(groups, 5, 1, number) for number in range(3)]
    assert all(len(set(batch)) == 5 for batch in batches)


def test_the_last_image_of_a_bucket_is_another_one_each_epoch():
    """diffusion-pipe leaves out the same images every epoch; here none is, and the short batch changes hands."""
    groups = groups_of([[1] * 5])
    shortest = [
        min((sample_indices_at(groups, 4, 0, 2 * epoch + place) for place in (0, 1)), key=len) for epoch in range(12)
    ]
    assert len(set(shortest)) > 1
    assert {len(members) for members in shortest} == {2}


def test_what_has_one_shape_is_one_group_and_groups_are_in_the_order_of_their_shapes():
    assert group_by_shape([(4, 6), (4, 4), (4, 6), (2, 9)]) == ((3,), (1,), (0, 2))
    assert group_by_shape([]) == ()
