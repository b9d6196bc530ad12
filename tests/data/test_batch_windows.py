"""Captions of different windows never share a batch, for the transformer attends to their padding."""

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.config.choices import SourceRole
from flux_lora.data.batches import Batch, BatchOptions, apart_by_traits, batch_at, batches_from, grouped
from flux_lora.data.cache import EncodedDataset, EncodedSample
from flux_lora.data.cache.entries import EntryNames, write_entry
from flux_lora.models.family import PromptEmbeds

EMPTY_WINDOW = 2
windows = st.lists(st.sampled_from([2, 4, 6]), min_size=1, max_size=3).map(tuple)
sets = st.lists(st.tuples(st.sampled_from([(4, 4), (4, 6)]), windows), min_size=1, max_size=8)


def text_of(window: int, value: float = 0.0) -> PromptEmbeds:
    return PromptEmbeds({"qwen": torch.full((1, window, 3), value)})


def sample_of(number: int, shape: tuple[int, int], said: tuple[int, ...]) -> EncodedSample:
    """Its captions hold its number and, behind the point, their place."""
    latent = torch.full((16, *shape), float(number))
    texts = tuple(text_of(window, number + place / 10) for place, window in enumerate(said))
    return EncodedSample(latent=latent, std=latent, prompt_embeds=texts, class_prompt_embeds=texts)


def samples_of(described: list[tuple[tuple[int, int], tuple[int, ...]]]) -> list[EncodedSample]:
    return [sample_of(number, *each) for number, each in enumerate(described, start=1)]


@settings(max_examples=60, deadline=None)
@given(sets, st.integers(1, 4), st.integers(0, 99), st.sampled_from([0.0, 0.5]))
def test_a_batch_has_one_window_whatever_the_captions_and_their_dropout(
    described: list[tuple[tuple[int, int], tuple[int, ...]]], size: int, seed: int, dropout: float
):
    samples = samples_of(described)
    feed = BatchOptions(batch_size=size, seed=seed, caption_dropout=dropout)
    groups, empty = grouped(samples), text_of(EMPTY_WINDOW, -1.0)
    shown: Counter[int] = Counter()
    epoch = sum(-(-len(group) // size) for group in groups)
    for batch in islice(batches_from(samples, empty, feed, groups), epoch):
        shown.update(batch.samples)
        for number, value in zip(batch.samples, batch.prompt_embeds["qwen"][:, 0, 0].tolist(), strict=True):
            assert value == -1 or int(value + 1e-3) == number + 1, "its own caption, or none"
    assert set(shown.values()) == {1} and len(shown) == len(samples), "each is shown once an epoch"


def test_with_one_window_the_groups_are_those_of_the_shapes():
    groups = ((0, 2, 2), (1,))
    assert apart_by_traits(groups, [(4,), (4,), (4,)]) == groups
    assert apart_by_traits(groups, [(4,), (4,), (6,)]) == ((0,), (2, 2), (1,))


def test_of_variants_in_two_windows_each_is_drawn_as_often():
    samples = samples_of([((4, 4), (2, 4)), ((4, 4), (2, 4))])
    feed = BatchOptions(batch_size=2, seed=0)
    drawn = Counter(
        round(float(value) % 1, 1)
        for batch in islice(batches_from(samples, text_of(2), feed, grouped(samples)), 400)
        for value in batch.prompt_embeds["qwen"][:, 0, 0]
    )
    assert set(drawn) == {0.0, 0.1}
    assert 340 < drawn[0.1] < 460


def test_an_empty_caption_of_another_window_takes_the_whole_batch_as_often_as_asked_for():
    samples = samples_of([((4, 4), (4,))] * 3)
    feed = BatchOptions(batch_size=3, seed=0, caption_dropout=0.25)
    taken = list(islice(batches_from(samples, text_of(2, -1.0), feed, grouped(samples)), 400))
    empty = [batch for batch in taken if batch.prompt_embeds.window == 2]
    assert all((batch.prompt_embeds["qwen"] == -1).all() for batch in empty)
    assert 70 < len(empty) < 130


def test_processes_that_share_a_batch_have_the_same_window():
    samples = samples_of([((4, 4), (2, 4))] * 4)
    feed = BatchOptions(batch_size=4, seed=0, caption_dropout=0.3, world_size=2)
    for number in range(40):
        parts = [batch_at(samples, text_of(6), replace(feed, rank=rank), grouped(samples), number) for rank in (0, 1)]
        assert len({part.prompt_embeds.window for part in parts}) == 1


def test_windows_are_read_from_the_cache_and_no_latent_is(tmp_path: Path):
    for name, window in {"a": 4, "b": 6}.items():
        write_entry(tmp_path, name, text_of(window).tensors)
    keys = [EntryNames("gone", texts, texts, role=SourceRole.subject) for texts in (("a", "b"), ("b",))]
    assert EncodedDataset(tmp_path, keys).windows() == ((4, 6), (6,))


def test_a_batch_s_shares_are_those_of_its_bucket_alone():
    """Of five in one bucket and two windows, each image counts a third of a batch of three."""
    samples = samples_of([((4, 4), (2,))] * 2 + [((4, 4), (4,))] * 3)
    feed = BatchOptions(batch_size=3, seed=0)
    taken: list[Batch] = list(islice(batches_from(samples, text_of(2), feed, grouped(samples)), 2))
    assert sorted(len(batch.latents) for batch in taken) == [2, 3]
    for batch in taken:
        assert batch.shares is not None and torch.allclose(batch.shares, torch.full((len(batch.latents),), 1 / 3))
