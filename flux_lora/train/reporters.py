"""Whoever is told facts about a run: the protocol, the file that is always written, and several as one."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from PIL.Image import Image

from flux_lora.adapter.files import sync_folder
from flux_lora.train.checkpoints import Checkpoint
from flux_lora.train.steps import Step

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Started:
    """What is known when the first step is about to be taken."""

    name: str
    steps: int
    """The whole run, not what is left."""
    start: int = 0
    """Updates done before, by the run that is continued."""
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    """The recipe, flat: train.steps -> 1500."""


class Reporter(Protocol):
    """Told every fact of a run, in order."""

    def started(self, facts: Started) -> None:
        """The first step is about to be taken."""

    def step(self, step: Step) -> None:
        """An update was made."""

    def saved(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is on the disk."""

    def previewed(self, number: int, pictures: Mapping[str, Image]) -> None:
        """Previews were rendered after step `number`, by what they show."""

    def finished(self, status: str) -> None:
        """No more steps: done, stopped or failed."""


class _Combined:
    def __init__(self, reporters: tuple[Reporter, ...]) -> None:
        self._reporters = reporters

    def started(self, facts: Started) -> None:
        for reporter in self._reporters:
            reporter.started(facts)

    def step(self, step: Step) -> None:
        for reporter in self._reporters:
            reporter.step(step)

    def saved(self, checkpoint: Checkpoint) -> None:
        for reporter in self._reporters:
            reporter.saved(checkpoint)

    def previewed(self, number: int, pictures: Mapping[str, Image]) -> None:
        for reporter in self._reporters:
            reporter.previewed(number, pictures)

    def finished(self, status: str) -> None:
        for reporter in self._reporters:
            reporter.finished(status)


def combined(*reporters: Reporter) -> Reporter:
    """Several reporters as one, told in this order."""
    return _Combined(reporters)


class Jsonl:
    """metrics.jsonl: one line a step, there as soon as the step is over.

    A line is one write to a file opened for appending, so a killed run leaves at most one torn
    line, and the next start takes that out together with the steps that will be made again.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor = -1

    def started(self, facts: Started) -> None:
        """Keep the lines of the steps done before, and no others."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._close()
        kept = [json.dumps(line) for line in read_metrics(self._file) if line["step"] <= facts.start]
        beside = self._file.with_name(f"{self._file.name}.partial")
        beside.write_text("".join(f"{line}\n" for line in kept))
        beside.replace(self._file)
        sync_folder(self._file.parent)
        self._descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND)

    def step(self, step: Step) -> None:
        """Append its line."""
        line = asdict(step)
        os.write(self._descriptor, (json.dumps({"step": line.pop("number"), **line}) + "\n").encode())

    def saved(self, checkpoint: Checkpoint) -> None:  # noqa: ARG002
        """Lines up to a checkpoint outlive a power cut, as it does."""
        os.fsync(self._descriptor)

    def previewed(self, number: int, pictures: Mapping[str, Image]) -> None:
        """Pictures are files of their own."""

    def finished(self, status: str) -> None:  # noqa: ARG002
        """Close the file."""
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def read_metrics(file: Path) -> list[dict[str, float]]:
    """The lines of a metrics.jsonl, oldest first; a torn one ends it."""
    lines: list[dict[str, float]] = []
    if not file.exists():
        return lines
    for raw in file.read_bytes().splitlines():
        try:
            line = json.loads(raw)
        except ValueError:
            break
        if not isinstance(line, dict) or line.get("step") != len(lines) + 1:
            break
        lines.append(line)
    return lines
