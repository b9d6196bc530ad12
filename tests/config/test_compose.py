"""YAML and overrides become a frozen RunConfig, and come back from a run folder."""

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from flux_lora.config.compose import (
    RECIPE_FILE,
    changes_of_this_job,
    compose_config,
    read_recipe,
    read_request,
    reopen,
    through_hydra,
    write_recipe,
)
from flux_lora.config.schema import AdapterTargets, TrackerName
from flux_lora.errors import ConfigError


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "demo"
    folder.mkdir(parents=True)
    write_recipe(compose_config(["recipe=demo", "adapter.rank=8"]), folder / RECIPE_FILE)
    return folder


def write_own_recipe(folder: Path, text: str) -> Path:
    (folder / "recipe").mkdir()
    (folder / "recipe" / "mine.yaml").write_text(f"# @package _global_\n{text}")
    return folder


def test_overrides_win_over_the_recipe_and_the_recipe_over_defaults():
    config = compose_config(["recipe=demo", "train.steps=1200", "adapter.targets=attention"])
    assert (config.train.steps, config.train.batch_size, config.train.max_grad_norm) == (1200, 4, 1.0)
    assert config.adapter.targets is AdapterTargets.attention


def test_a_group_named_on_the_command_line_wins_over_the_recipes_own():
    assert compose_config(["recipe=demo", "tracker=tensorboard"]).tracker.name is TrackerName.tensorboard


def test_lists_arrive_as_tuples_and_the_whole_is_frozen():
    config = compose_config(["recipe=demo", "evaluate.strengths=[0.5,1]"])
    assert config.evaluate.strengths == (0.5, 1.0)
    with pytest.raises(FrozenInstanceError):
        config.train.steps = 3  # type: ignore[misc]


def test_a_recipe_written_and_read_again_is_the_same(run_folder: Path):
    config = compose_config(["recipe=demo", "adapter.rank=8"])
    again = read_recipe(run_folder / RECIPE_FILE)
    assert replace(again, run=config.run) == config
    assert again.run.dir == str(run_folder), "the run folder is where it lies, even if it was moved"
    assert [file.name for file in run_folder.iterdir()] == [RECIPE_FILE]


def test_a_stored_recipe_is_reopened_with_overrides_and_groups_on_top(run_folder: Path):
    config = reopen(run_folder, ["evaluate.seeds=7", "tracker=trackio"])
    assert (config.adapter.rank, config.evaluate.seeds) == (8, 7)
    assert config.tracker.name is TrackerName.trackio
    assert config.run.dir == str(run_folder)


def test_a_folder_without_a_recipe_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"there is no .*recipe\.yaml"):
        reopen(tmp_path, [])


def test_a_stored_recipe_with_a_strange_key_is_named(run_folder: Path):
    file = run_folder / RECIPE_FILE
    file.write_text(file.read_text().replace("rank: 8", "rnk: 8"))
    with pytest.raises(ConfigError) as caught:
        read_recipe(file)
    assert str(file) in caught.value.problem
    assert "adapter.rank" in caught.value.fix


def test_the_users_own_recipe_is_found_beside_those_that_ship(tmp_path: Path):
    own = write_own_recipe(tmp_path, "defaults: [demo]\ntrain: {steps: 120, save_every: 60}\n")
    config = compose_config(["recipe=mine"], config_dir=own)
    assert (config.train.steps, config.run.dir) == (120, "runs/mine")


def test_a_typo_in_the_users_own_recipe_names_file_and_key(tmp_path: Path):
    own = write_own_recipe(tmp_path, "defaults: [demo]\nadapter: {rnk: 4}\n")
    with pytest.raises(ConfigError) as caught:
        compose_config(["recipe=mine"], config_dir=own)
    assert caught.value.problem == "recipe/mine: there is no knob 'adapter.rnk'"
    assert "adapter.rank" in caught.value.fix


def test_a_job_of_a_sweep_gets_a_run_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    jobs: list[tuple[str, ...]] = []
    request = read_request(["recipe=demo", "adapter.rank=4,8", "-m"])
    through_hydra(request, job=lambda _: jobs.append(changes_of_this_job()))
    assert [job[-1] for job in jobs] == ["run.dir='runs/demo-adapter.rank=4'", "run.dir='runs/demo-adapter.rank=8'"]
    assert all(compose_config(job).run.dir == job[-1].split("'")[1] for job in jobs)


def test_long_settings_leave_every_job_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What differs comes last, and was once cut off: three jobs in one folder."""
    monkeypatch.chdir(tmp_path)
    jobs: list[tuple[str, ...]] = []
    paths = [f"data.folder=/home/jane/{'projects/' * 9}mug", "model.path=/mnt/models/black-forest-labs/FLUX.1-dev"]
    request = read_request(["recipe=demo", *paths, "adapter.rank=16,32,64", "-m"])
    through_hydra(request, job=lambda _: jobs.append(changes_of_this_job()))
    places = {job[-1] for job in jobs}
    assert len(places) == 3 and max(map(len, places)) < 180


def test_composing_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    compose_config(["recipe=demo"])
    assert not list(tmp_path.iterdir())
