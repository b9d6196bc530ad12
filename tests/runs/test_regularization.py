"""What the adapter is held to: images of ordinary things that the base itself makes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flux_lora.config.compose import compose_config
from flux_lora.data.cache import EncodedDataset
from flux_lora.data.progress import Progress
from flux_lora.runs.regularization import class_images_of, class_prompts, preservation_samples, render_class_images
from flux_lora.runs.run import Run, Silent

KEPT = ("a red ball", "a blue house")


@pytest.fixture
def run(tiny_flux: Path, tmp_path: Path) -> Run:
    return Run(
        compose_config(
            ["recipe=demo", f"model.path={tiny_flux}", "data.resolution=64", "train.class_images=3", "evaluate.steps=2"]
            + ["model.max_sequence_length=16", f"run.dir={tmp_path / 'runs' / 'one'}"]
        )
    )


def test_prompts_come_in_turn_and_then_again_with_other_noise(run: Run):
    made = class_images_of(run, KEPT)
    assert [each.prompt for each in made] == ["a red ball", "a blue house", "a red ball"]
    assert made[0].seed == made[1].seed != made[2].seed
    assert len({each.keys.latent for each in made}) == 3


def test_ordinary_things_and_others_take_turns_and_none_is_said_twice():
    assert class_prompts(["a mug", "a mug", "a mug on a table"], ["a dog"]) == ("a mug", "a dog", "a mug on a table")


def test_the_base_makes_each_image_once_and_keeps_it(run: Run):
    cache = run.folder.cache
    wanted = class_images_of(run, KEPT)
    render_class_images(run, wanted, run.load_pipeline())
    first = preservation_samples(EncodedDataset(cache, []), cache, wanted)
    assert len(first) == 3 and first[0].latent.shape == (16, 8, 8)
    assert not torch.equal(first[0].latent, first[2].latent), "another noise makes another image"
    files = {file: file.stat().st_mtime_ns for file in cache.iterdir()}
    render_class_images(run, wanted, run.load_pipeline())
    assert files == {file: file.stat().st_mtime_ns for file in cache.iterdir()}


class Heard(Silent):
    """What a person would see of the progress."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    @contextmanager
    def progress(self, doing: str, *, keeps: bool = False) -> Iterator[Progress]:  # noqa: ARG002
        yield lambda done, total, _: self.seen.append((doing, done, total))


def test_how_many_class_images_are_made_is_said_while_they_are_made_and_nothing_where_all_are_there(run: Run):
    heard = Heard()
    run = replace(run, feedback=heard)
    wanted = class_images_of(run, KEPT)
    render_class_images(run, wanted, run.load_pipeline())
    assert heard.seen == [("making class images", 2, 3), ("making class images", 3, 3)]
    heard.seen.clear()
    render_class_images(run, wanted, run.load_pipeline())
    assert heard.seen == []


def test_another_way_of_sampling_is_another_class_image(run: Run):
    config = run.config
    other = Run(replace(config, evaluate=replace(config.evaluate, steps=3)))
    one, another = class_images_of(run, KEPT)[0], class_images_of(other, KEPT)[0]
    assert one.keys.latent != another.keys.latent and one.keys.texts == another.keys.texts
