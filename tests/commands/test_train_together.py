"""Several processes train the adapter that one would, and end together, however that comes about."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flux_lora.adapter.files import read_adapter
from flux_lora.commands.train import train
from flux_lora.config.choices import Control
from flux_lora.config.compose import compose_config
from flux_lora.runs.control import send
from flux_lora.train.checkpoints import complete_checkpoints, latest_checkpoint
from flux_lora.train.reporters import read_metrics
from tests.started_together import PATIENCE, Program, programs, start_together
from tests.test_path import ENVIRONMENT, photo_folder, settings

__all__ = ["programs"]

STEPS = 6
EVERYTHING = [
    "train.learning_rate=1e-3",
    "train.batch_size=3",
    "train.gradient_accumulation_steps=2",
    "train.caption_dropout=0.3",
    "train.preservation=1.0",
    "train.class_images=2",
    "data.sample_latents=true",
    "preview.every=0",
]
"""Batches of three and of two out of two buckets, and one of one among the class images: four processes are more."""
NEVER_ENDING = ["train.steps=100000", "train.save_every=90000", "preview.every=0", "evaluate.held_out_losses=0"]
NEVER_ENDING += ["train.class_images=0", "train.preservation=0"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("photos"), 5)


@pytest.fixture(scope="module")
def alone(tiny_flux: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes."""
    run_dir = tmp_path_factory.mktemp("alone") / "mug"
    assert train(compose_config(settings(tiny_flux, photos, run_dir, *EVERYTHING))) == 0
    return run_dir


def wait_for(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.02)


def steps_of(run_dir: Path) -> int:
    return len(read_metrics(run_dir / "metrics.jsonl"))


def assert_same_adapter(run_dir: Path, other: Path) -> None:
    last = [complete_checkpoints(each)[-1] for each in (run_dir, other)]
    assert [each.step for each in last] == [STEPS, STEPS]
    ours, theirs = (read_adapter(each.adapter_file).layers for each in last)
    for name, layer in theirs.items():
        for one, same in ((ours[name].down, layer.down), (ours[name].up, layer.up)):
            torch.testing.assert_close(one, same, atol=1e-6, rtol=0)


def assert_same_steps(run_dir: Path, other: Path) -> None:
    pairs = list(zip(*(read_metrics(each / "metrics.jsonl") for each in (run_dir, other)), strict=True))
    assert len(pairs) == STEPS
    for one, same in pairs:
        assert (one["samples"], one["sigmas"]) == (same["samples"], same["sigmas"])
        assert one["sample_losses"] == pytest.approx(same["sample_losses"], rel=1e-4)
        for name in ("loss", "grad_norm", "preservation", "preservation_weight", "relative_loss"):
            assert one[name] == pytest.approx(same[name], rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("count", [2, 4])
def test_so_many_processes_train_the_adapter_that_one_would(
    count: int, programs: ForkServerContext, alone: Path, tiny_flux: Path, photos: Path, tmp_path: Path
):
    run_dir = tmp_path / "runs" / "mug"
    asked = ["train", *settings(tiny_flux, photos, run_dir, *EVERYTHING)]
    (first, said), *others = [each.end() for each in start_together(programs, asked, tmp_path, count)]
    assert [first, *(code for code, _ in others)] == [0] * count, said + "".join(more for _, more in others)
    assert "training done" in said and [more for _, more in others] == [""] * (count - 1), "one of them speaks"
    assert json.loads((run_dir / "summary.json").read_text())["status"] == "done"
    assert_same_adapter(run_dir, alone)
    assert_same_steps(run_dir, alone)


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_torchrun_starts_them(count: int, alone: Path, tiny_flux: Path, photos: Path, tmp_path: Path):
    run_dir = tmp_path / "runs" / "mug"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    asked = [*launcher, "-m", "flux_lora", "train", *settings(tiny_flux, photos, run_dir, *EVERYTHING)]
    seen = subprocess.run(asked, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert seen.returncode == 0, seen.stderr
    assert_same_adapter(run_dir, alone)


@pytest.fixture
def training(
    programs: ForkServerContext, tiny_flux: Path, photos: Path, tmp_path: Path
) -> Iterator[tuple[Path, list[Program], Callable[[str, int], list[Program]]]]:
    """Three processes that would train for hours, and what starts more of them on the same run."""
    run_dir = tmp_path / "runs" / "mug"

    def start(steps: str, count: int) -> list[Program]:
        asked = ["train", *settings(tiny_flux, photos, run_dir, *NEVER_ENDING), f"train.steps={steps}"]
        more = ["train.lr_scheduler=constant", f"train.save_every={steps}"]
        return start_together(programs, [*asked, *more], tmp_path, count)

    started = start("100000", 3)
    wait_for(lambda: steps_of(run_dir) > 2)
    yield run_dir, started, start
    for each in started:
        each.process.kill()


def test_they_save_wait_and_stop_at_the_same_step_and_another_number_of_them_goes_on(training):
    run_dir, started, start = training
    assert send(run_dir, Control.save, patience=PATIENCE)
    wait_for(lambda: len(complete_checkpoints(run_dir)) == 1)
    assert send(run_dir, Control.pause, patience=PATIENCE)
    time.sleep(0.5)
    waiting = steps_of(run_dir)
    time.sleep(0.5)
    assert steps_of(run_dir) == waiting
    assert send(run_dir, Control.resume, patience=PATIENCE)
    wait_for(lambda: steps_of(run_dir) > waiting + 2)
    assert send(run_dir, Control.stop, patience=PATIENCE)
    ended = [each.end() for each in started]
    assert [code for code, _ in ended] == [130, 130, 130], ended
    assert "the same command again continues" in ended[0][1] and [said for _, said in ended[1:]] == ["", ""]
    last = latest_checkpoint(run_dir)
    assert last and last.step == steps_of(run_dir), "nothing that was reported is lost"
    assert json.loads((run_dir / "summary.json").read_text())["status"] == "stopped"

    more = [each.end() for each in start(str(last.step + 3), 2)]
    assert [code for code, _ in more] == [0, 0], more
    assert f"going on after step {last.step}" in more[0][1] and steps_of(run_dir) == last.step + 3


@pytest.mark.parametrize("rank", [0, 2])
def test_a_signal_to_any_of_them_stops_all_after_a_checkpoint(training, rank: int):
    run_dir, started, _ = training
    started[rank].ask(signal.SIGTERM)
    ended = [each.end() for each in started]
    assert {code for code, _ in ended} <= {130, 143} and ended[rank][0] == 143, ended
    last = latest_checkpoint(run_dir)
    assert last and last.step == steps_of(run_dir) > 2


@pytest.mark.parametrize("rank", [0, 2])
def test_where_one_is_killed_the_others_say_so_and_end(training, rank: int):
    run_dir, started, _ = training
    started[rank].ask(signal.SIGKILL)
    ended = [each.end() for number, each in enumerate(started) if number != rank]
    assert [code for code, _ in ended] == [2, 2], ended
    assert all("one of the 3 processes was killed" in said and "Traceback" not in said for _, said in ended)
    if rank:
        summary = json.loads((run_dir / "summary.json").read_text())
        assert summary["status"] == "failed" and "was killed" in summary["problem"]


@pytest.mark.parametrize("rank", [0, 1])
def test_where_one_fails_it_says_why_and_none_is_left_waiting(
    rank: int, programs: ForkServerContext, tiny_flux: Path, photos: Path, tmp_path: Path
):
    """The first batch has an image for each process; one of them is no image in the cache."""
    before, run_dir = tmp_path / "runs" / "before", tmp_path / "runs" / "mug"
    asked = [*settings(tiny_flux, photos, run_dir, *NEVER_ENDING), "check.page=false", "train.steps=1"]
    asked += ["train.save_every=1"]
    assert train(compose_config([*asked, f"run.dir={before}"])) == 0
    (step,) = read_metrics(before / "metrics.jsonl")
    lines = [json.loads(line) for line in (before / "dataset" / "manifest.jsonl").read_text().splitlines()]
    latents = [line["latent"] for line in lines if "image" in line]
    save_file({"else": torch.zeros(1)}, tmp_path / "runs" / "cache" / f"{latents[step['samples'][rank]]}.safetensors")
    ended = [each.end() for each in start_together(programs, ["train", *asked], tmp_path, 2)]
    assert (ended[rank][0], ended[1 - rank][0]) == (1, 2), ended
    assert "KeyError: 'latent'" in ended[rank][1] and "Traceback" not in ended[1 - rank][1]
    summary = json.loads((run_dir / "summary.json").read_text())
    assert (summary["status"], steps_of(run_dir)) == ("failed", 0)
