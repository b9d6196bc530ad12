"""A run on the terminal."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from flux_lora.commands.console_reporter import ConsoleReporter
from flux_lora.train.checkpoints import Checkpoint
from flux_lora.train.loop import Step
from flux_lora.train.reporters import Started


def shown(*, terminal: bool, start: int = 0, relative: float = 0.0) -> str:
    written = StringIO()
    console = ConsoleReporter(Console(file=written, force_terminal=terminal, width=160))
    console.started(Started("mug", 10, start))
    for number in range(start + 1, 11):
        facts = {"grad_norm": 1.0, "learning_rate": 1e-4, "seconds": 0.25, "relative_loss": relative}
        console.step(Step(number=number, loss=0.5, **facts))
    console.saved(Checkpoint(10, Path("runs/mug/checkpoints/step-000010")))
    console.previewed(10, {})
    console.finished("done")
    return written.getvalue()


def test_a_terminal_sees_loss_rate_and_progress():
    seen = shown(terminal=True)
    for words in ("mug", "10/10", "loss 0.5000", "rate 1.0e-04", "0.25 s/step", "training done"):
        assert words in seen


def test_a_log_file_gets_a_line_for_each_checkpoint_and_no_bars():
    seen = shown(terminal=False)
    assert "step 10: saved runs/mug/checkpoints/step-000010, mean loss 0.5000" in seen
    assert "\x1b" not in seen and len(seen.splitlines()) == 3


@pytest.mark.parametrize("terminal", [True, False])
def test_the_loss_is_also_said_as_a_share_of_the_base_s_where_that_is_known(terminal: bool):
    assert "loss 0.5000 (31% of the base's)" in shown(terminal=terminal, relative=0.31)


@pytest.mark.parametrize("terminal", [True, False])
def test_a_continued_run_says_where_it_goes_on(terminal: bool):
    assert "going on after step 4 of 10" in shown(terminal=terminal, start=4).replace("\x1b[1;36m", "").replace(
        "\x1b[0m", ""
    )
