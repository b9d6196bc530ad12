"""metrics.jsonl, and several reporters as one."""

import multiprocessing
import os
import signal
import time
from itertools import count
from pathlib import Path

import pytest

from flux_lora.train.checkpoints import Checkpoint
from flux_lora.train.loop import Step
from flux_lora.train.reporters import Jsonl, Started, combined, read_metrics


def step(number: int) -> Step:
    return Step(number=number, loss=1 / number, grad_norm=0.5, learning_rate=1e-4, seconds=0.1)


def write(file: Path, start: int, last: int, *, steps: int = 100) -> None:
    reporter = Jsonl(file)
    reporter.started(Started("mug", steps, start))
    for number in range(start + 1, last + 1):
        reporter.step(step(number))
    reporter.saved(Checkpoint(last, file.parent))
    reporter.finished("done")


def numbers(file: Path) -> list[float]:
    return [line["step"] for line in read_metrics(file)]


def test_there_is_one_line_a_step_with_its_facts(tmp_path: Path):
    write(tmp_path / "run" / "metrics.jsonl", 0, 3)
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    facts = {"step": 3, "loss": 1 / 3, "grad_norm": 0.5, "learning_rate": 1e-4, "seconds": 0.1}
    facts |= {"preservation": 0.0, "preservation_weight": 0.0, "relative_loss": 0.0}
    facts |= {"samples": [], "sample_losses": [], "sigmas": [], "finite": True}
    assert lines[2] == facts
    assert len(lines) == 3


def test_a_continued_run_has_every_step_once(tmp_path: Path):
    file = tmp_path / "metrics.jsonl"
    write(file, 0, 7)
    write(file, 5, 9)
    assert numbers(file) == list(range(1, 10))


def test_a_run_started_over_forgets_its_past(tmp_path: Path):
    file = tmp_path / "metrics.jsonl"
    write(file, 0, 7)
    write(file, 0, 2)
    assert numbers(file) == [1, 2]


@pytest.mark.parametrize("torn", [b'{"step": 4, "lo', b"\x00\x00\x00", b'{"step": 9}\n', b"7\n", b'{"step": 4}{"step"'])
def test_a_torn_last_line_is_taken_out(torn: bytes, tmp_path: Path):
    file = tmp_path / "metrics.jsonl"
    write(file, 0, 3)
    with file.open("ab") as opened:
        opened.write(torn)
    write(file, 3, 5)
    assert numbers(file) == [1, 2, 3, 4, 5]
    assert len(file.read_bytes().splitlines()) == 5


def report_for_ever(file: Path) -> None:
    reporter = Jsonl(file)
    reporter.started(Started("mug", 10**9))
    for number in count(1):
        reporter.step(step(number))


@pytest.mark.filterwarnings("ignore:This process")
def test_after_kill_9_every_step_reported_is_there(tmp_path: Path):
    file = tmp_path / "metrics.jsonl"
    child = multiprocessing.get_context("fork").Process(target=report_for_ever, args=(file,))
    child.start()
    while not file.exists() or file.stat().st_size < 40_000:
        time.sleep(0.01)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    reported = numbers(file)
    assert len(reported) > 100 and reported == list(range(1, len(reported) + 1))
    write(file, 50, 60)
    assert numbers(file) == list(range(1, 61))


def test_together_tells_each_in_turn(tmp_path: Path):
    files = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    both = combined(*(Jsonl(file) for file in files))
    both.started(Started("mug", 2))
    both.step(step(1))
    both.saved(Checkpoint(1, tmp_path))
    both.previewed(1, {})
    both.finished("done")
    assert [numbers(file) for file in files] == [[1], [1]]
