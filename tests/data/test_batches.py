"""Batches are counted, and no sample is dropped or favoured."""

from collections import Counter
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flux_lora.data.batches import Batch, batches, batches_per_epoch, grouped, members_at
from flux_lora.data.cache import Encoded
from flux_lora.models.family import Text

EMPTY = Text(t5=torch.zeros(1, 2, 3), pooled=torch.zeros(1, 3))
SHAPES = [(16, 4, 4), (16, 4, 6), (16, 6, 4)]

bucket_sizes = st.lists(st.integers(1, 7), min_size=1, max_size=3)
batch_sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32)


def encoded_set(sizes: list[int]) -> list[Encoded]:
    """Samples numbered from 1, the number filling latent and text alike, their buckets interleaved."""
    shapes = sorted((place, SHAPES[bucket]) for bucket, size in enumerate(sizes) for place in range(size))
    return [
        Encoded(
            latent=torch.full(shape, float(number)),
            text=(text := Text(t5=torch.full((1, 2, 3), float(number)), pooled=torch.full((1, 3), float(number)))),
            plain=text,
        )
        for number, (_, shape) in enumerate(shapes, start=1)
    ]


def numbers(batch: Batch) -> list[float]:
    return batch.latents[:, 0, 0, 0].tolist()


def taken(samples: list[Encoded], count: int, *, start: int = 0, size: int = 2, seed: int = 0, dropout: float = 0.0):
    stream = batches(samples, EMPTY, batch_size=size, seed=seed, start=start, caption_dropout=dropout)
    return list(islice(stream, count))


@given(bucket_sizes, batch_sizes, seeds, st.integers(0, 40))
def test_starting_at_k_equals_skipping_k(sizes: list[int], size: int, seed: int, start: int):
    samples = encoded_set(sizes)
    skipped = taken(samples, start + 4, size=size, seed=seed, dropout=0.5)[start:]
    begun = taken(samples, 4, start=start, size=size, seed=seed, dropout=0.5)
    for one, other in zip(skipped, begun, strict=True):
        assert torch.equal(one.latents, other.latents) and torch.equal(one.text.t5, other.text.t5)


@given(bucket_sizes, batch_sizes, seeds, st.integers(1, 60))
def test_no_two_samples_ever_differ_by_more_than_one_exposure(sizes: list[int], size: int, seed: int, count: int):
    groups = grouped(encoded_set(sizes))
    seen = Counter({number: 0 for group in groups for number in group})
    for number in range(count):
        seen.update(members_at(groups, size, seed, number))
    assert max(seen.values()) - min(seen.values()) <= 1


@given(bucket_sizes, batch_sizes, seeds, st.integers(0, 5))
def test_an_epoch_shows_every_sample_exactly_once(sizes: list[int], size: int, seed: int, epoch: int):
    groups = grouped(encoded_set(sizes))
    length = batches_per_epoch(groups, size)
    shown = [member for place in range(length) for member in members_at(groups, size, seed, epoch * length + place)]
    assert sorted(shown) == list(range(sum(sizes)))


@given(bucket_sizes, batch_sizes, seeds)
def test_a_batch_is_of_one_bucket_never_too_large_and_near_even(sizes: list[int], size: int, seed: int):
    groups = grouped(encoded_set(sizes))
    for number in range(batches_per_epoch(groups, size)):
        members = members_at(groups, size, seed, number)
        home = next(group for group in groups if members[0] in group)
        assert set(members) <= set(home)
        parts = -(-len(home) // size)
        assert len(home) // parts <= len(members) <= size


def test_epochs_and_seeds_have_orders_of_their_own():
    samples = encoded_set([7])
    first, second = (sum((numbers(batch) for batch in taken(samples, 4, start=start)), []) for start in (0, 4))
    other = sum((numbers(batch) for batch in taken(samples, 4, seed=1)), [])
    assert sorted(first) == sorted(second) == sorted(other)
    assert len({tuple(first), tuple(second), tuple(other)}) == 3


def test_each_latent_keeps_its_own_text():
    for batch in taken(encoded_set([5, 3]), 12):
        assert batch.text.t5[:, 0, 0].tolist() == batch.text.pooled[:, 0].tolist() == numbers(batch)


@pytest.mark.parametrize(("dropout", "share"), [(0.0, 0.0), (0.3, 0.3), (1.0, 1.0)])
def test_captions_are_dropped_as_often_as_asked(dropout, share):
    stream = taken(encoded_set([6]), 600, dropout=dropout)
    dropped = torch.cat([batch.text.pooled[:, 0] == 0 for batch in stream]).float().mean().item()
    assert dropped == pytest.approx(share, abs=0.04)


def test_a_batch_moves_as_a_new_batch():
    batch = taken(encoded_set([2]), 1)[0]
    moved = batch.to("cpu", torch.bfloat16)
    assert moved.latents.dtype == moved.text.t5.dtype == torch.bfloat16
    assert batch.latents.dtype == torch.float32
