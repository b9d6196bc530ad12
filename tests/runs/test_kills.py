"""A training that is killed again and again, also while it writes, ends with the adapter of one that was left alone."""

import json
import os
import random
import signal
import time
from contextlib import suppress
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from flux_lora.atomic import HALF_WRITTEN
from flux_lora.config.compose import compose_config
from flux_lora.runs.encoding import PreparedRun, encode_dataset
from flux_lora.runs.lock import alone_in
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run
from flux_lora.runs.summary import stage
from flux_lora.runs.training import train_adapter
from flux_lora.train.checkpoints import FOLDER, complete_checkpoints
from flux_lora.train.reporters import read_metrics
from tests.started_together import programs
from tests.test_path import photo_folder, settings

__all__ = ["programs"]

EVERYTHING = (
    "train.save_every=1",
    "train.gradient_accumulation_steps=2",
    "train.caption_dropout=0.3",
    "train.preservation=1.0",
    "train.class_images=0",
    "data.sample_latents=true",
    "evaluate.held_out_losses=0",
    "preview.every=0",
    "check.page=false",
)
STEPS_A_KILL = 2
LONGEST = 600
"""Seconds."""


def trains(run: Run, prepared: PreparedRun) -> int:
    """Its number, in a process of its own that has loaded everything already."""
    if child := os.fork():
        return child
    code = 1
    with suppress(BaseException):
        with alone_in(run.folder.root), stage(run.folder, "train", continues=True):
            train_adapter(run, prepared)
        code = 0
    os._exit(code)


def whole(root: Path) -> int:
    """Checkpoints under their own names."""
    return len(list((root / FOLDER).glob("step-*[0-9]")))


def killed(child: int, root: Path, chance: random.Random, *, in_writing: bool) -> bool:
    """Whether it was killed, after a step at least: in the middle of writing a checkpoint, or at any moment."""
    before = whole(root)
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if whole(root) <= before:
            time.sleep(0.0005)
            continue
        if in_writing and not any((root / FOLDER).glob(f"*{HALF_WRITTEN}")):
            continue
        time.sleep(0 if in_writing else chance.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    return False


def kill_again_and_again(arguments: list[str], kills: int, answer: Path) -> None:
    """Load everything once, train to the end in a child of this process, and count what was left half-written."""
    run = Run(compose_config([*arguments, "hardware.threads=1"]))
    dataset = preflight(run)
    run.begin()
    prepared = encode_dataset(run, dataset)
    run.load_pipeline()
    chance, done, half_written = random.Random(7), 0, 0
    while done < kills and killed(trains(run, prepared), run.folder.root, chance, in_writing=done % 2 == 1):
        done += 1
        half_written += any((run.folder.root / FOLDER).glob(f"*{HALF_WRITTEN}"))
    _, status = os.waitpid(trains(run, prepared), 0)
    answer.write_text(json.dumps({"killed": done, "half_written": half_written, "ended": status}))


def train_with(kills: int, programs: ForkServerContext, arguments: list[str], place: Path) -> dict[str, int]:
    process = programs.Process(target=kill_again_and_again, args=(arguments, kills, place / f"{kills}.json"))
    process.start()
    process.join(LONGEST)
    assert process.exitcode == 0
    return json.loads((place / f"{kills}.json").read_text())


@pytest.mark.parametrize("kills", [20, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(LONGEST)])])
def test_it_ends_with_the_same_adapter_state_and_lines(
    kills: int, programs: ForkServerContext, tiny_flux: Path, tmp_path: Path
):
    photos, folders = photo_folder(tmp_path / "photos", 5), [tmp_path / "runs" / name for name in ("left", "killed")]
    steps = STEPS_A_KILL * kills
    asked = [settings(tiny_flux, photos, folder, *EVERYTHING, f"train.steps={steps}") for folder in folders]
    assert train_with(0, programs, asked[0], tmp_path) == {"killed": 0, "half_written": 0, "ended": 0}
    seen = train_with(kills, programs, asked[1], tmp_path)
    assert (seen["killed"], seen["ended"]) == (kills, 0)
    assert seen["half_written"] >= kills // 4, "some were killed while they wrote"
    last = [complete_checkpoints(folder)[-1] for folder in folders]
    for name in ("adapter.safetensors", "optimizer.safetensors", "state.json"):
        left_alone, again = ((checkpoint.folder / name).read_bytes() for checkpoint in last)
        assert left_alone == again, name
    lines = [[{**line, "seconds": 0} for line in read_metrics(folder / "metrics.jsonl")] for folder in folders]
    assert len(lines[0]) == steps and lines[0] == lines[1]
    assert len(complete_checkpoints(folders[1])) == steps, "each checkpoint that was whole is still there"
