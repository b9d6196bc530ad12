"""A run folder belongs to one recipe, and says which knob was changed."""

from dataclasses import replace
from pathlib import Path

import pytest

from flux_lora.config.compose import compose_config, read_recipe
from flux_lora.config.schema import RunConfig
from flux_lora.errors import RunError
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.run import Run, settings


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


def test_settings_are_flat_and_plain(config: RunConfig):
    flat = settings(config)
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
