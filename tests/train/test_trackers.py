"""Trackers, for real where they are installed."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from sqlite3 import connect

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
    settings = {"train.steps": 2, "data.trigger": "zkmug"}
    reporter.started(Started("mug", 2, settings=settings, folder=str(run_dir)))
    for number in (1, 2):
        reporter.step(Step(number=number, loss=0.5 * number, grad_norm=1.0, learning_rate=1e-4, seconds=0.1))
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


def report_apart(name: TrackerName, run_dir: Path, **environment: str) -> None:
    """In a process of its own: wandb and trackio keep for good where they first wrote."""
    said = (
        "from pathlib import Path; from flux_lora.config.choices import TrackerName; "
        "from tests.train.test_trackers import report; "
        f"report(TrackerName({name.value!r}), Path({str(run_dir)!r}))"
    )
    environment = {**os.environ, **environment, "PYTHONPATH": os.pathsep.join(sys.path)}
    seen = subprocess.run([sys.executable, "-c", said], env=environment, capture_output=True, text=True, check=False)
    assert seen.returncode == 0, seen.stderr


def not_there(name: TrackerName) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(name.value) is None, reason=f"{name} is not installed")


@not_there(TrackerName.tensorboard)
def test_tensorboard_holds_curves_images_the_recipe_and_the_way_back(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    report(TrackerName.tensorboard, tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 0.5), (2, 1.0)]
    assert [event.value for event in events.Scalars("grad_norm")] == [1.0, 1.0]
    (label,) = events.Tags()["images"]
    assert label.startswith("a zkmug on a table")
    (drawn,) = events.Images(label)
    assert Image.open(BytesIO(drawn.encoded_image_string)).getpixel((3, 3)) == (255, 0, 0)
    (told,) = events.Tensors("recipe/text_summary")
    text = told.tensor_proto.string_val[0].decode()
    assert "train.steps: 2" in text and "data.trigger: zkmug" in text and f"run_folder: {tmp_path}" in text


BLOCK, HEAD = 32768, 7


def records_in(log: bytes) -> Iterator[bytes]:
    """Of a file in the format of LevelDB's log, as wandb has it: blocks of pieces, each with checksum, length, kind."""
    place, begun = HEAD, b""
    while place + HEAD <= len(log):
        if BLOCK - place % BLOCK < HEAD:
            place += BLOCK - place % BLOCK
        length, kind = int.from_bytes(log[place + 4 : place + 6], "little"), log[place + 6]
        begun += log[place + HEAD : place + HEAD + length]
        place += HEAD + length
        if kind in (1, 4):  # a whole record, or the last piece of one
            yield begun
            begun = b""


@not_there(TrackerName.wandb)
@pytest.mark.filterwarnings("ignore")
def test_wandb_offline_holds_curves_images_the_recipe_and_the_way_back(tmp_path: Path):
    from wandb.proto.wandb_internal_pb2 import Record

    report_apart(TrackerName.wandb, tmp_path, WANDB_MODE="offline")
    (file,) = tmp_path.rglob("run-*.wandb")
    lines, settings = [], {}
    for content in records_in(file.read_bytes()):
        record = Record()
        record.ParseFromString(content)
        lines.append({item.key or ".".join(item.nested_key): item.value_json for item in record.history.item})
        updates = [*record.config.update, *record.run.config.update]
        settings |= {item.key or ".".join(item.nested_key): item.value_json for item in updates}
    assert [float(line["loss"]) for line in lines if "loss" in line] == [0.5, 1.0]
    (captions,) = [json.loads(line["previews.captions"]) for line in lines if "previews.captions" in line]
    assert captions == ["a zkmug on a table"]
    (drawn,) = tmp_path.rglob("previews_*.png")
    assert Image.open(drawn).getpixel((3, 3)) == (255, 0, 0)
    assert (settings["train.steps"], json.loads(settings["run_folder"])) == ("2", str(tmp_path))


@not_there(TrackerName.trackio)
@pytest.mark.filterwarnings("ignore")
def test_trackio_holds_curves_images_the_recipe_and_the_way_back(tmp_path: Path):
    report_apart(TrackerName.trackio, tmp_path, TRACKIO_DIR=str(tmp_path / "trackio"))
    (file,) = (tmp_path / "trackio").glob("*.db")
    with closing(connect(file)) as opened:
        lines = [json.loads(text) for (text,) in opened.execute("SELECT metrics FROM metrics ORDER BY step")]
        (settings,) = [json.loads(text) for (text,) in opened.execute("SELECT config FROM configs")]
    assert [line["loss"] for line in lines if "loss" in line] == [0.5, 1.0]
    (drawn,) = [line["a zkmug on a table"] for line in lines if "a zkmug on a table" in line]
    assert drawn["caption"] == "a zkmug on a table"
    assert any((tmp_path / "trackio").rglob("*.png"))
    assert (settings["train.steps"], settings["run_folder"]) == (2, str(tmp_path))


def test_a_run_that_is_gone_on_with_is_one_run_in_wandb_and_a_new_folder_another(tmp_path: Path):
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    assert wandb_id(folders[0]) == wandb_id(folders[0]) != wandb_id(folders[1])
    moved = folders[0].rename(tmp_path / "moved")
    before = (moved / "wandb_id.txt").read_text()
    assert wandb_id(moved) == before


@not_there(TrackerName.wandb)
def test_wandb_is_told_to_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    for _ in range(2):
        report(TrackerName.wandb, tmp_path)
    assert {file.stem.split("-")[-1] for file in tmp_path.rglob("run-*.wandb")} == {wandb_id(tmp_path)}
