"""A run that trains is talked to from another terminal: it saves, shows, waits, goes on and ends."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flux_lora.config.choices import Control
from flux_lora.errors import RunError
from flux_lora.runs.control import FILE, ControlFile, Requests, send
from flux_lora.runs.stop_request import StopRequest
from flux_lora.train.checkpoints import complete_checkpoints
from tests.test_path import ENVIRONMENT, command, photo_folder, settings

PATIENCE = 120


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return photo_folder(tmp_path / "photos", 4)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "mug"


@pytest.fixture
def training(tiny_flux: Path, photos: Path, run_dir: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A training that would go on for hours."""
    more = ["train.steps=100000", "train.save_every=90000", "preview.every=0", "evaluate.held_out_losses=0"]
    more += ["train.class_images=0", "train.preservation=0"]
    started = subprocess.Popen(
        command("train", *settings(tiny_flux, photos, run_dir, *more)),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: steps_of(run_dir) > 2)
        yield started
    finally:
        started.kill()
        started.wait()


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.05)


def steps_of(run_dir: Path) -> int:
    file = run_dir / "metrics.jsonl"
    return len(file.read_text().splitlines()) if file.is_file() else 0


def told(run_dir: Path, word: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("control", f"run={run_dir}", f"ask={word}", f"patience={PATIENCE}"),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_run_saves_shows_waits_goes_on_and_ends_when_it_is_told_to(training: subprocess.Popen[bytes], run_dir: Path):
    assert not complete_checkpoints(run_dir)
    assert "a checkpoint is being saved" in told(run_dir, "save").stdout
    wait_for(lambda: len(complete_checkpoints(run_dir)) == 1)

    told(run_dir, "sample")
    wait_for(lambda: bool(list(run_dir.glob("samples/step-*/*.png"))))

    assert "it waits" in told(run_dir, "pause").stdout
    time.sleep(1)
    waiting = steps_of(run_dir)
    time.sleep(1)
    assert steps_of(run_dir) == waiting and training.poll() is None
    assert told(run_dir, "resume").returncode == 0
    wait_for(lambda: steps_of(run_dir) > waiting + 2)

    assert "same command as before continues" in told(run_dir, "stop").stdout
    assert training.wait(PATIENCE) == 130
    last = complete_checkpoints(run_dir)[-1]
    numbers = [json.loads(line)["step"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert last.step == numbers[-1], "nothing that was reported is lost"
    assert told(run_dir, "save").returncode == 2


def test_a_request_to_a_run_that_nobody_trains_is_refused(tmp_path: Path):
    with pytest.raises(RunError, match="nothing trains in"):
        send(tmp_path, Control.save, patience=1)
    assert not (tmp_path / FILE).exists()


def test_a_request_is_taken_once_and_one_that_is_none_not_at_all(tmp_path: Path):
    file = ControlFile(tmp_path)
    assert file.take() is None
    (tmp_path / FILE).write_text("save\n")
    assert (file.take(), file.take()) == (Control.save, None)
    (tmp_path / FILE).write_text("sing")
    assert file.take() is None and not (tmp_path / FILE).exists()
    (tmp_path / FILE).write_text("stop")
    file.clear()
    assert file.take() is None


@pytest.mark.parametrize(("file", "number", "answer"), [("resume", 0, "resume"), ("pause", signal.SIGTERM, "stop")])
def test_a_pause_ends_with_any_other_request_or_a_signal(tmp_path: Path, file: str, number: int, answer: str):
    (tmp_path / FILE).write_text(file)
    assert Requests(StopRequest(number), ControlFile(tmp_path)).paused() is Control(answer)
