"""What the base answers about reminders is asked once, before the first step, and shared."""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flux_lora.config.compose import compose_config
from flux_lora.data.batches import BatchOptions
from flux_lora.data.cache import EncodedDataset
from flux_lora.data.cache.entries import ANSWER
from flux_lora.data.cache.maintenance import ANSWER_SECONDS, holdings, prune
from flux_lora.models.family import Velocity
from flux_lora.runs.base_answers import (
    GOLDEN,
    Reminders,
    ask_base,
    distance_between_prompts,
    reminder_questions,
)
from flux_lora.runs.regularization import class_images_of, preservation_samples, render_class_images
from flux_lora.runs.run import Run

PROMPTS = ("a red ball", "a blue house", "a dog")
PLACE = torch.zeros(())


@pytest.fixture
def base(tiny_flux: Path, tmp_path: Path) -> tuple[Reminders, Velocity]:
    """Three class images of a tiny base, and its velocity."""
    run = Run(
        compose_config(
            ["recipe=demo", f"model.path={tiny_flux}", "data.resolution=64", "train.class_images=3", "evaluate.steps=2"]
            + ["model.max_sequence_length=16", f"run.dir={tmp_path / 'runs' / 'one'}"]
        )
    )
    images, pipeline = class_images_of(run, PROMPTS), run.load_pipeline()
    render_class_images(run, images, pipeline)
    samples = preservation_samples(EncodedDataset(run.folder.cache, []), run.folder.cache, images)
    options = BatchOptions(batch_size=2, seed=5)
    reminders = Reminders(samples, ((0, 1, 2),), options, shift=1.5, asked_as="tiny", draws=4)
    return reminders, run.family.velocity(pipeline.transformer, guidance=1.0)


def first_questions(reminders: Reminders, count: int, start: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for batch, point in islice(reminder_questions(reminders, start=start), count):
        yield point.noisy, batch.prompt_embeds["t5"]


def test_every_question_carries_what_the_base_says_to_it(base: tuple[Reminders, Velocity]):
    reminders, velocity = base
    assert sum(ask_base(velocity, reminders, PLACE)) == 3 * 4
    for batch, point in islice(reminder_questions(reminders, start=0), 9):
        with torch.no_grad():
            said = velocity(point.noisy, point.sigma, batch.prompt_embeds)
        torch.testing.assert_close(point.velocity, said, rtol=1e-4, atol=1e-5)
        assert batch.shares is not None and batch.shares.tolist() == [0.5] * len(batch.latents)


def test_the_base_is_asked_once_whatever_the_seed_and_the_length_of_a_run(base: tuple[Reminders, Velocity]):
    reminders, velocity = base
    list(ask_base(velocity, reminders, PLACE))
    files = {file: file.stat().st_mtime_ns for file in reminders.samples.folder.glob(f"{ANSWER}-*")}
    assert len(files) == 12
    other = replace(reminders, options=BatchOptions(batch_size=1, seed=9), draws=3)
    assert sum(ask_base(velocity, other, PLACE)) == 9
    assert files == {file: file.stat().st_mtime_ns for file in reminders.samples.folder.glob(f"{ANSWER}-*")}
    another = replace(reminders, asked_as="another base")
    list(ask_base(velocity, another, PLACE))
    assert len(list(reminders.samples.folder.glob(f"{ANSWER}-*"))) == 24


def test_going_on_asks_what_would_have_come(base: tuple[Reminders, Velocity]):
    reminders, velocity = base
    list(ask_base(velocity, reminders, PLACE))
    straight = list(first_questions(reminders, 9))
    for resumed, expected in zip(first_questions(reminders, 4, start=5), straight[5:], strict=True):
        assert torch.equal(resumed[0], expected[0]) and torch.equal(resumed[1], expected[1])


def test_the_distance_between_prompts_is_one_of_answers(base: tuple[Reminders, Velocity]):
    reminders, velocity = base
    assert distance_between_prompts(velocity, reminders, PLACE) > 0
    same = replace(reminders.samples.keys[1], texts=reminders.samples.keys[0].texts)
    alike = EncodedDataset(reminders.samples.folder, [reminders.samples.keys[0], same])
    assert distance_between_prompts(velocity, replace(reminders, samples=alike, groups=((0, 1),)), PLACE) == 1.0


@given(st.floats(0, 1), st.integers(2, 16))
def test_however_few_draws_are_used_their_sigmas_are_spread(offset: float, draws: int):
    even = sorted((offset + draw * GOLDEN) % 1 for draw in range(draws))
    gaps = [(after - before) % 1 for before, after in zip(even, even[1:] + even[:1], strict=True)]
    assert max(gaps) < 2.7 / draws


def test_answers_are_counted_in_the_cache_and_pruned_only_when_no_run_can_be_reading_them(
    base: tuple[Reminders, Velocity],
):
    reminders, velocity = base
    list(ask_base(velocity, reminders, PLACE))
    folder = reminders.samples.folder
    assert {held.kind: held.files for held in holdings(folder)}["base answers"] == 12
    keys = reminders.samples.keys
    needed = {name for each in keys for name in (each.latent, *each.texts)}
    assert prune(folder, needed, young_seconds=0).files == 0
    for file in folder.glob(f"{ANSWER}-*"):
        os.utime(file, (0, time.time() - ANSWER_SECONDS - 60))
    assert prune(folder, needed, young_seconds=0).files == 12
    assert sum(ask_base(velocity, reminders, PLACE)) == 12, "and they are made again"
