"""The numbers and previews of a run in wandb, tensorboard or trackio, through accelerate's trackers."""

import os
from collections.abc import Mapping
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
from accelerate import PartialState
from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker, WandBTracker
from PIL.Image import Image

from flux_lora.config.choices import TrackerName
from flux_lora.errors import ConfigError
from flux_lora.train.checkpoints import Checkpoint
from flux_lora.train.reporters import Reporter, Started, combined
from flux_lora.train.steps import Step

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
        if not isinstance(self._tracker, TensorBoardTracker):
            self._tracker.store_init_configuration(dict(facts.settings))
        else:  # accelerate's own way makes a second run of it, in a folder named by the clock
            table = "\n".join(f"    {key}: {value}" for key, value in facts.settings.items())
            self._tracker.log({"recipe": table}, step=facts.start)

    def step(self, step: Step) -> None:
        values = {"loss": step.loss, "grad_norm": step.grad_norm, "learning_rate": step.learning_rate}
        self._tracker.log({**values, "seconds": step.seconds}, step=step.number)

    def saved(self, checkpoint: Checkpoint) -> None:
        """Checkpoints stay on this disk."""

    def previewed(self, number: int, pictures: Mapping[str, Image]) -> None:
        match self._tracker:
            case TensorBoardTracker():
                arrays = {label: np.asarray(picture.convert("RGB"))[None] for label, picture in pictures.items()}
                self._tracker.log_images(arrays, step=number, dataformats="NHWC")
            case WandBTracker():
                self._tracker.log_images({label: [picture] for label, picture in pictures.items()}, step=number)
            case TrackioTracker():
                from trackio import Image as TrackioImage

                images = {label: TrackioImage(picture) for label, picture in pictures.items()}
                self._tracker.log(images, step=number)

    def finished(self, status: str) -> None:  # noqa: ARG002
        self._tracker.finish()


def _wandb(project: str, run_dir: Path) -> WandBTracker:
    """Without an account wandb would stop the run; offline, it keeps its files in the run folder."""
    mode = os.environ.get("WANDB_MODE") or ("online" if _has_wandb_key() else "offline")
    return WandBTracker(project, name=run_dir.name, dir=str(run_dir), mode=mode)


def _has_wandb_key() -> bool:
    host = urlparse(os.environ.get("WANDB_BASE_URL", WANDB_HOST)).hostname or ""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc().authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False
