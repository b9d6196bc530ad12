"""A run folder belongs to one recipe, and says which knob was changed."""

from dataclasses import replace
from pathlib import Path

import pytest

from flux_lora.config.choices import LRScheduler
from flux_lora.config.compose import compose_config, flat_settings, read_recipe
from flux_lora.config.schema import RunConfig
from flux_lora.errors import RunError
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.run import Run


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return compose_config(["recipe=demo", f"run.dir={tmp_path / 'runs' / 'one'}"])


def begin(config: RunConfig) -> RunFolder:
    run = Run(config)
    run.begin()
    return run.folder


def test_nothing_is_created_before_a_run_begins(config: RunConfig, tmp_path: Path):
    run = Run(config)
    named = [run.folder, run.source, run.device, run.family, run.encoders, run.load_pipeline()]
    assert all(named) and list(tmp_path.iterdir()) == []
    run.begin()
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [run.folder.recipe]
    assert read_recipe(run.folder.recipe) == config


def test_the_same_recipe_opens_its_folder_again(config: RunConfig):
    folder = begin(config)
    assert begin(config) == folder and folder.recipe.is_file()


def test_what_decides_the_training_cannot_change_midway(config: RunConfig):
    folder = begin(config)
    before = folder.recipe.read_text()
    with pytest.raises(RunError, match=r"train\.learning_rate was 0\.\d+ and is now 0\.5"):
        begin(replace(config, train=replace(config.train, learning_rate=0.5)))
    assert folder.recipe.read_text() == before


def test_what_does_not_may_change(config: RunConfig):
    begin(config)
    begin(replace(config, evaluate=replace(config.evaluate, seeds=7), strict=True))


def test_a_constant_schedule_can_be_prolonged_and_a_cosine_cannot(config: RunConfig):
    constant = replace(config, train=replace(config.train, lr_scheduler=LRScheduler.constant))
    folder = begin(constant)
    longer = replace(constant, train=replace(constant.train, steps=constant.train.steps + 100, save_every=50))
    begin(longer)
    assert read_recipe(folder.recipe) == longer
    with pytest.raises(RunError, match=r"train\.lr_scheduler was .*constant.* and is now .*cosine"):
        begin(replace(longer, train=replace(longer.train, lr_scheduler=LRScheduler.cosine)))


def test_a_cosine_schedule_knows_its_end(config: RunConfig):
    begin(config)
    with pytest.raises(RunError, match=r"train\.steps was \d+ and is now 7") as refusal:
        begin(replace(config, train=replace(config.train, steps=7)))
    assert "lr_scheduler=constant" in refusal.value.fix


def test_a_folder_that_was_moved_is_not_another_one(config: RunConfig, tmp_path: Path):
    folder = begin(config)
    moved = replace(config, data=replace(config.data, folder=str(tmp_path / "elsewhere")))
    begin(replace(moved, model=replace(moved.model, path="mini_moved")))
    assert read_recipe(folder.recipe).data.folder == str(tmp_path / "elsewhere")


def test_settings_are_flat_and_plain(config: RunConfig):
    flat = flat_settings(config)
    assert flat["train.steps"] == config.train.steps and flat["model.path"] == "mini"
    assert all(isinstance(value, str | int | float | bool) for value in flat.values())


def test_a_place_that_cannot_be_written_to_is_an_error_with_its_fix(tmp_path: Path):
    (tmp_path / "runs").write_text("a file where a folder should be")
    config = compose_config(
        ["recipe=demo", "data.folder=a", "data.trigger=zorb", "data.class_word=mug", f"run.dir={tmp_path}/runs/mug"]
    )
    with pytest.raises(RunError, match="cannot be written to") as refusal:
        begin(config)
    assert "run.dir" in refusal.value.fix
