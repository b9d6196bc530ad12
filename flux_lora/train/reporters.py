"""Reporters receive facts about a run: metrics.jsonl, wandb, tensorboard or trackio through accelerate's trackers."""

import errno
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlparse
from uuid import uuid4

import numpy as np
from accelerate import PartialState
from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker, WandBTracker
from PIL.Image import Image

from flux_lora.atomic import write_text
from flux_lora.config.choices import TrackerName
from flux_lora.errors import ConfigError
from flux_lora.train.checkpoints import Checkpoint
from flux_lora.train.loop import Step

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
    folder: str = ""
    """Where the run lies: the way back from a tracker's page."""


class Reporter(Protocol):
    """Told every fact of a run, in order."""

    def started(self, facts: Started) -> None:
        """The first step is about to be taken."""

    def step(self, step: Step) -> None:
        """An update was made."""

    def saved(self, checkpoint: Checkpoint) -> None:
        """A checkpoint is on the disk."""

    def previewed(self, number: int, images: Mapping[str, Image]) -> None:
        """Previews were rendered after step `number`, by what they show."""

    def measured(self, number: int, facts: Mapping[str, float]) -> None:
        """Something was measured after step `number`, by name."""

    def finished(self, status: str) -> None:
        """No more steps: done, stopped before the last (the same command goes on), or failed."""


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

    def previewed(self, number: int, images: Mapping[str, Image]) -> None:
        for reporter in self._reporters:
            reporter.previewed(number, images)

    def measured(self, number: int, facts: Mapping[str, float]) -> None:
        for reporter in self._reporters:
            reporter.measured(number, facts)

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
        self._close()
        kept = [json.dumps(line) for line in read_metrics(self._file) if line["step"] <= facts.start]
        write_text("".join(f"{line}\n" for line in kept), self._file)
        self._descriptor = os.open(self._file, os.O_WRONLY | os.O_APPEND)

    def step(self, step: Step) -> None:
        """Append its line."""
        line = asdict(step)
        line = _without_non_finite({"step": line.pop("number"), **line})
        content = (json.dumps(line, allow_nan=False) + "\n").encode()
        if os.write(self._descriptor, content) < len(content):  # what is written of it is taken out at the next start
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._file))

    def saved(self, checkpoint: Checkpoint) -> None:  # noqa: ARG002
        """Lines up to a checkpoint outlive a power cut, as it does."""
        os.fsync(self._descriptor)

    def previewed(self, number: int, images: Mapping[str, Image]) -> None:
        """Images are files of their own."""

    def measured(self, number: int, facts: Mapping[str, float]) -> None:
        """What is not of every step has a file of its own."""

    def finished(self, status: str) -> None:  # noqa: ARG002
        """Close the file."""
        self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def _without_non_finite(value: object) -> Any:
    """null in the place of numbers that JSON has not."""
    if isinstance(value, dict):
        return {key: _without_non_finite(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_without_non_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(file: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl, oldest first; a torn one ends it."""
    lines: list[dict[str, Any]] = []
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


PREVIEWS = "previews"
"""What wandb shows them under, side by side; each has what it shows as its caption."""
WANDB_HOST = "https://api.wandb.ai"


def tracker_for(name: TrackerName, *, project: str, run_dir: Path) -> Reporter:
    """The reporter for this tracker. What it writes locally goes into the run folder."""
    if name is TrackerName.none:
        return combined()
    if find_spec(name.value) is None:
        raise ConfigError(
            f"tracker.name is {name}, and {name} is not installed",
            fix=f"run: pip install {name}, or set tracker=none (metrics.jsonl is always written)",
        )
    match name:
        case TrackerName.wandb:
            return _Tracked(_wandb(project, run_dir))
        case TrackerName.tensorboard:
            return _Tracked(TensorBoardTracker("tensorboard", logging_dir=run_dir))
        case TrackerName.trackio:
            os.environ.setdefault("TRACKIO_DIR", str(run_dir / "trackio"))
            return _Tracked(TrackioTracker(project, name=run_dir.name))


class _Tracked:
    """One of accelerate's trackers as a reporter."""

    def __init__(self, tracker: GeneralTracker) -> None:
        self._tracker = tracker

    def started(self, facts: Started) -> None:
        PartialState()  # wandb's and trackio's log through accelerate, which refuses without it
        self._tracker.start()
        settings = {**facts.settings, "run_folder": facts.folder}
        if not isinstance(self._tracker, TensorBoardTracker):
            self._tracker.store_init_configuration(settings)
        else:  # accelerate's own way makes a second run of it, in a folder named by the clock
            table = "\n".join(f"    {key}: {value}" for key, value in settings.items())
            self._tracker.log({"recipe": table}, step=facts.start)

    def step(self, step: Step) -> None:
        if not step.finite:
            return
        values = {"loss": step.loss, "preservation": step.preservation, "grad_norm": step.grad_norm}
        values |= {"relative_loss": step.relative_loss, "preservation_weight": step.preservation_weight}
        self._tracker.log({**values, "learning_rate": step.learning_rate, "seconds": step.seconds}, step=step.number)

    def saved(self, checkpoint: Checkpoint) -> None:
        """Checkpoints stay on this disk."""

    def previewed(self, number: int, images: Mapping[str, Image]) -> None:
        match self._tracker:
            case TensorBoardTracker():
                arrays = {label: np.asarray(image.convert("RGB"))[None] for label, image in images.items()}
                self._tracker.log_images(arrays, step=number, dataformats="NHWC")
            case WandBTracker():
                from wandb import Image as WandBImage

                captioned = [WandBImage(image, caption=label) for label, image in images.items()]
                self._tracker.log({PREVIEWS: captioned}, step=number)
            case TrackioTracker():
                from trackio import Image as TrackioImage

                tracked = {label: TrackioImage(image, caption=label) for label, image in images.items()}
                self._tracker.log(tracked, step=number)

    def measured(self, number: int, facts: Mapping[str, float]) -> None:
        self._tracker.log(dict(facts), step=number)

    def finished(self, status: str) -> None:  # noqa: ARG002
        self._tracker.finish()


def _wandb(project: str, run_dir: Path) -> WandBTracker:
    """Without an account wandb would stop the run; offline, it keeps its files in the run folder."""
    mode = os.environ.get("WANDB_MODE") or ("online" if _has_wandb_key() else "offline")
    resumed = {"id": wandb_id(run_dir), "resume": "allow"}  # one curve, however often the run is gone on with
    return WandBTracker(project, name=run_dir.name, dir=str(run_dir), mode=mode, **resumed)


def wandb_id(run_dir: Path) -> str:
    """The id of a run folder's wandb run: kept in the folder, and so the same where that is moved."""
    file = run_dir / "wandb_id.txt"
    if not file.is_file():
        write_text(uuid4().hex[:12], file)
    return file.read_text(encoding="utf-8").strip()


def _has_wandb_key() -> bool:
    host = urlparse(os.environ.get("WANDB_BASE_URL", WANDB_HOST)).hostname or ""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc().authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False
