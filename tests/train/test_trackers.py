"""Trackers, for real where they are installed."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from flux_lora.config.choices import TrackerName
from flux_lora.errors import ConfigError
from flux_lora.train.checkpoints import Checkpoint
from flux_lora.train.loop import Step
from flux_lora.train.reporters import Started, tracker_for, wandb_id

TRACKERS = [name for name in TrackerName if name is not TrackerName.none]


def report(name: TrackerName, run_dir: Path) -> None:
    reporter = tracker_for(name, project="flux_lora_test", run_dir=run_dir)
    reporter.started(Started("mug", 2, settings={"train.steps": 2, "data.trigger": "zkmug"}))
    for number in (1, 2):
        reporter.step(Step(number=number, loss=0.5, grad_norm=1.0, learning_rate=1e-4, seconds=0.1))
    reporter.saved(Checkpoint(2, run_dir))
    reporter.previewed(2, {"a zkmug on a table": Image.new("RGB", (16, 16), "red")})
    reporter.finished("done")


def test_no_tracker_is_told_everything_and_writes_nothing(tmp_path: Path):
    report(TrackerName.none, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_writes_into_the_run_folder_or_says_how_to_install_it(
    name: TrackerName, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if find_spec(name.value) is None:
        with pytest.raises(ConfigError, match=f"{name} is not installed"):
            report(name, tmp_path)
        return
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    report(name, tmp_path)
    assert any(path.is_file() and path.stat().st_size for path in tmp_path.rglob("*"))
    os.environ.pop("TRACKIO_DIR", None)


@pytest.mark.skipif(find_spec("tensorboard") is None, reason="tensorboard is not installed")
def test_tensorboard_holds_curves_and_images(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report(TrackerName.tensorboard, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.value for event in events.Scalars("loss")] == [0.5, 0.5]
    assert events.Tags()["images"] == ["a zkmug on a table/0"] or events.Tags()["images"] == ["a zkmug on a table"]


def test_a_run_that_is_gone_on_with_is_one_run_in_wandb_and_a_new_folder_another(tmp_path: Path):
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    assert wandb_id(folders[0]) == wandb_id(folders[0]) != wandb_id(folders[1])
    moved = folders[0].rename(tmp_path / "moved")
    before = (moved / "wandb_id.txt").read_text()
    assert wandb_id(moved) == before


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_is_told_to_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    for _ in range(2):
        report(TrackerName.wandb, tmp_path)
    assert {file.stem.split("-")[-1] for file in tmp_path.rglob("run-*.wandb")} == {wandb_id(tmp_path)}
