"""The steps of a run on the terminal: progress with loss, rate and time left."""

from collections.abc import Mapping

from PIL.Image import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from flux_lora.train.checkpoints import Checkpoint
from flux_lora.train.loop import Step
from flux_lora.train.reporters import Started

SMOOTHING = 0.95
"""Flow losses jump with the sigma that was drawn; the mean of about the last 20 steps is shown."""


class ConsoleReporter:
    """One live line where the output is a terminal; one plain line for each checkpoint where it is not."""

    def __init__(self, terminal: Console | None = None) -> None:
        self._terminal = terminal or Console(stderr=True)
        self._progress = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}{task.fields[share]}"),
            TextColumn("rate {task.fields[rate]:.1e}  {task.fields[seconds]:.2f} s/step"),
            TimeRemainingColumn(),
            console=self._terminal,
            disable=not self._terminal.is_terminal,
        )
        self._task = TaskID(0)
        self._loss = 0.0
        self._relative = 0.0
        self._weight = 0.0

    def started(self, facts: Started) -> None:
        """Show the line; a continued run starts after its last checkpoint."""
        if facts.start:
            self._terminal.print(f"going on after step {facts.start} of {facts.steps}")
        self._task = self._progress.add_task(
            facts.name, total=facts.steps, completed=facts.start, loss=0.0, share="", rate=0.0, seconds=0.0
        )
        self._progress.start()

    def step(self, step: Step) -> None:
        """Move the line. A step that was not finite is said by the run, and would spoil the means."""
        if not step.finite:
            return
        self._loss = SMOOTHING * self._loss + (1 - SMOOTHING) * step.loss
        self._relative = SMOOTHING * self._relative + (1 - SMOOTHING) * step.relative_loss
        self._weight = SMOOTHING * self._weight + (1 - SMOOTHING)
        self._progress.update(
            self._task,
            completed=step.number,
            loss=self._loss / self._weight,
            share=self._share(),
            rate=step.learning_rate,
            seconds=step.seconds,
        )

    def saved(self, checkpoint: Checkpoint) -> None:
        """Say where."""
        mean = f", mean loss {self._loss / self._weight:.4f}{self._share()}" if self._weight else ""
        self._terminal.print(f"step {checkpoint.step}: saved {checkpoint.folder}{mean}", soft_wrap=True)

    def _share(self) -> str:
        """As a share of the base's loss at the sigmas that were drawn: this one does not jump with them."""
        return f" ({self._relative / self._weight:.0%} of the base's)" if self._relative else ""

    def previewed(self, number: int, images: Mapping[str, Image]) -> None:
        """Say how many."""
        self._terminal.print(f"step {number}: {len(images)} preview(s)")

    def measured(self, number: int, facts: Mapping[str, float]) -> None:
        """The run says it in words."""

    def finished(self, status: str) -> None:
        """Leave the last line standing."""
        self._progress.stop()
        self._terminal.print(f"training {status}")
