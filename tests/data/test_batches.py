"""Batches are counted: what is in number k depends on the seed and k alone, whoever takes it."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.config.choices import OutsideMask, SourceRole
from flux_lora.data.batches import Batch, BatchOptions, batch_at, batches, batches_from, grouped
from flux_lora.data.cache import EncodedSample
from flux_lora.models.family import PromptEmbeds

EMPTY = PromptEmbeds({"t5": torch.zeros(1, 2, 3), "pooled": torch.zeros(1, 3)})
SHAPES = [(16, 4, 4), (16, 4, 6), (16, 6, 4)]

bucket_sizes = st.lists(st.integers(1, 7), min_size=1, max_size=3)
batch_sizes = st.integers(1, 5)
seeds = st.integers(0, 2**32)


def text_of(number: float) -> PromptEmbeds:
    return PromptEmbeds({"t5": torch.full((1, 2, 3), float(number)), "pooled": torch.full((1, 3), float(number))})


def encoded_set(sizes: list[int]) -> list[EncodedSample]:
    """Samples numbered from 1, the number filling latent and text alike, their buckets interleaved."""
    shapes = sorted((place, SHAPES[bucket]) for bucket, size in enumerate(sizes) for place in range(size))
    return [
        EncodedSample(
            latent=torch.full(shape, float(number)),
            std=torch.full(shape, 0.5),
            prompt_embeds=(text := text_of(number),),
            class_prompt_embeds=(text,),
        )
        for number, (_, shape) in enumerate(shapes, start=1)
    ]


def numbers(batch: Batch) -> list[float]:
    return batch.latents[:, 0, 0, 0].tolist()


def taken(
    samples: list[EncodedSample], count: int, *, start: int = 0, size: int = 2, seed: int = 0, dropout: float = 0.0
):
    stream = batches(samples, EMPTY, batch_size=size, seed=seed, start=start, caption_dropout=dropout)
    return list(islice(stream, count))


@settings(max_examples=60, deadline=None)
@given(bucket_sizes, batch_sizes, seeds, st.integers(0, 40))
def test_starting_at_k_equals_skipping_k(sizes: list[int], size: int, seed: int, start: int):
    samples = encoded_set(sizes)
    skipped = taken(samples, start + 4, size=size, seed=seed, dropout=0.5)[start:]
    begun = taken(samples, 4, start=start, size=size, seed=seed, dropout=0.5)
    for one, other in zip(skipped, begun, strict=True):
        assert torch.equal(one.latents, other.latents)
        assert torch.equal(one.prompt_embeds["t5"], other.prompt_embeds["t5"])


def test_epochs_and_seeds_have_orders_of_their_own():
    samples = encoded_set([7])
    first, second = (sum((numbers(batch) for batch in taken(samples, 4, start=start)), []) for start in (0, 4))
    other = sum((numbers(batch) for batch in taken(samples, 4, seed=1)), [])
    assert sorted(first) == sorted(second) == sorted(other)
    assert len({tuple(first), tuple(second), tuple(other)}) == 3


def test_each_latent_keeps_its_own_text():
    for batch in taken(encoded_set([5, 3]), 12):
        t5, pooled = batch.prompt_embeds["t5"], batch.prompt_embeds["pooled"]
        assert t5[:, 0, 0].tolist() == pooled[:, 0].tolist() == numbers(batch)


def test_a_tall_image_alone_in_its_bucket_pulls_no_harder_than_one_of_many():
    samples, feed = encoded_set([8, 1]), BatchOptions(batch_size=4, seed=0)
    weights = [0.0] * 9
    for number in range(3):
        batch = batch_at(samples, EMPTY, feed, grouped(samples), number)
        for image, share in zip(numbers(batch), batch.shares.tolist(), strict=True):
            weights[int(image) - 1] += share
    assert weights == [0.25] * 9


def test_a_regularisation_image_counts_its_prior_loss_weight():
    samples = [replace(one, role=role) for one, role in zip(encoded_set([2]), SourceRole, strict=True)]
    batch = batch_at(samples, EMPTY, BatchOptions(batch_size=2, seed=0, prior_loss_weight=0.3), grouped(samples), 0)
    weights = dict(zip(numbers(batch), batch.shares.tolist(), strict=True))
    assert weights == pytest.approx({1.0: 0.5, 2.0: 0.15})


@pytest.mark.parametrize(("dropout", "share"), [(0.0, 0.0), (0.3, 0.3), (1.0, 1.0)])
def test_captions_are_dropped_as_often_as_asked(dropout, share):
    stream = taken(encoded_set([6]), 600, dropout=dropout)
    dropped = torch.cat([batch.prompt_embeds["pooled"][:, 0] == 0 for batch in stream]).float().mean().item()
    assert dropped == pytest.approx(share, abs=0.04)


def test_a_batch_moves_as_a_new_batch():
    batch = taken(encoded_set([2]), 1)[0]
    moved = batch.to("cpu", torch.bfloat16)
    assert moved.latents.dtype == moved.prompt_embeds["t5"].dtype == torch.bfloat16
    assert batch.latents.dtype == torch.float32


@settings(max_examples=60, deadline=None)
@given(bucket_sizes, st.integers(1, 6), st.integers(1, 4), st.integers(0, 20))
def test_processes_together_see_the_batch_that_one_would(sizes: list[int], size: int, world: int, number: int):
    """ai-toolkit's processes each shuffle the whole set on their own; these share one order."""
    samples = encoded_set(sizes)
    alone = BatchOptions(batch_size=size, seed=3, caption_dropout=0.4, sample_latents=True)
    whole = batch_at(samples, EMPTY, alone, grouped(samples), number)
    parts = [
        batch_at(samples, EMPTY, replace(alone, rank=rank, world_size=world), grouped(samples), number)
        for rank in range(world)
    ]
    counted = [part for part in parts if part.shares is None or part.shares.any()]
    latents = torch.cat([part.latents for part in counted])
    order = latents[:, 0, 0, 0].sort().indices
    assert torch.equal(latents[order], whole.latents[whole.latents[:, 0, 0, 0].sort().indices])
    said = torch.cat([part.prompt_embeds["pooled"][:, 0] for part in counted])
    assert torch.equal(said.sort().values, whole.prompt_embeds["pooled"][:, 0].sort().values)


@pytest.mark.parametrize(("sizes", "world"), [([4], 1), ([4], 2), ([5], 2), ([2], 3), ([1], 4)])
def test_an_image_weighs_the_same_whichever_process_has_it_and_however_full_its_batch_is(sizes, world):
    samples = encoded_set(sizes)
    feed = BatchOptions(batch_size=8, seed=0, world_size=world)
    parts = [batch_at(samples, EMPTY, replace(feed, rank=rank), grouped(samples), 0) for rank in range(world)]
    mean = sum((part.latents[:, 0, 0, 0] * part.shares).sum() for part in parts) / world
    assert mean.item() == pytest.approx(sum(range(1, sizes[0] + 1)) / feed.batch_size)


def test_what_a_mask_leaves_out_counts_as_little_as_the_floor_says():
    one = encoded_set([1])[0]
    mask = torch.zeros_like(one.latent[:1])
    mask[0, 0, 0] = 1
    feed = BatchOptions(batch_size=1, seed=0, mask_floor=0.25)
    batch = batch_at([replace(one, mask=mask)], EMPTY, feed, ((0,),), 0)
    assert batch.loss_weights.max() == 1 and batch.loss_weights.min() == 0.25
    assert batch.masks is None, "the photo is the answer everywhere"
    asks_base = replace(feed, outside_mask=OutsideMask.base)
    assert torch.equal(batch_at([replace(one, mask=mask)], EMPTY, asks_base, ((0,),), 0).masks[0], mask)
    assert batch_at([one], EMPTY, asks_base, ((0,),), 0).masks is None


def test_a_caption_is_drawn_from_its_variants():
    variants = tuple(text_of(number) for number in (1, 2, 3))
    sample = replace(encoded_set([1])[0], prompt_embeds=variants, class_prompt_embeds=variants)
    drawn = [batch.prompt_embeds["pooled"][0, 0].item() for batch in taken([sample], 300)]
    assert min(drawn.count(each) for each in (1.0, 2.0, 3.0)) > 70


def test_latents_are_drawn_around_their_mean_when_asked_and_are_the_mean_otherwise():
    samples = encoded_set([1])
    feed = BatchOptions(batch_size=1, seed=0, sample_latents=True)
    drawn = torch.cat([batch.latents for batch in islice(batches_from(samples, EMPTY, feed, ((0,),)), 20)])
    assert drawn.mean().item() == pytest.approx(1, abs=0.05)
    assert drawn.std().item() == pytest.approx(0.5, abs=0.05)
    assert not torch.equal(drawn[0], drawn[1])
    assert torch.equal(taken(samples, 1)[0].latents[0], samples[0].latent)


def test_an_image_without_a_mask_counts_fully_beside_one_with():
    first, second = encoded_set([2])
    masked = replace(first, mask=torch.zeros(1, 4, 4))
    weights = taken([masked, second], 1)[0]
    assert weights.loss_weights is not None and weights.loss_weights.shape == (2, 1, 4, 4)
    by_number = dict(zip(numbers(weights), weights.loss_weights.mean(dim=(1, 2, 3)).tolist(), strict=True))
    assert by_number == {1.0: 0.0, 2.0: 1.0}
    assert taken([first, second], 1)[0].loss_weights is None


def test_what_the_loss_is_weighed_by_stays_exact():
    first = replace(encoded_set([1])[0], mask=torch.full((1, 4, 4), 0.3))
    moved = taken([first], 1)[0].to("cpu", torch.bfloat16)
    assert moved.loss_weights is not None and moved.loss_weights.dtype == torch.float32
