"""What each photo taught: its loss with the adapter beside the base's own, at the same sigmas and noise.

The base's loss says how far a photo is from what the base makes of its caption; the loss afterwards, how well it was
learned. In a set of 16 with a photo of another subject and two captions swapped, those three had the highest losses
before training, twice the median and more, and afterwards the other subject's was the highest: photos are learned by
heart, so what is left of a loss says nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from flux_lora.config.choices import SourceRole
from flux_lora.data.cache import EncodedSample
from flux_lora.flow.randomness import generator_for
from flux_lora.models.family import Velocity
from flux_lora.runs.encoding import PreparedRun
from flux_lora.runs.folder import write_json
from flux_lora.runs.hardest import hardest, mean_losses
from flux_lora.runs.held_out import losses_at
from flux_lora.runs.run import Run
from flux_lora.train.checkpoints import latest_checkpoint
from flux_lora.train.learner import Learner
from flux_lora.train.reporters import read_metrics

SIGMAS = (0.25, 0.5, 0.75)
MOST = 64
"""Photos that are measured; of more, those whose loss in training was the highest."""


@dataclass(frozen=True)
class PhotoLoss:
    """One photo in one bucket."""

    image: str
    base: float
    """The base's mean loss over SIGMAS."""
    now: float
    """The same with the adapter as it is after the last step."""


def measure_photos(run: Run, learner: Learner, prepared: PreparedRun) -> tuple[PhotoLoss, ...]:
    """Measured once, after a run's last step, and kept; images of the subject alone."""
    last = latest_checkpoint(run.folder.root)
    step, kept = last.step if last else 0, run.folder.photo_losses
    if kept.is_file() and json.loads(kept.read_text(encoding="utf-8"))["step"] == step:
        return read_photo_losses(kept)
    shown = prepared.dataset.planned.prepared
    numbers = [number for number, one in enumerate(shown) if one.sample.role is SourceRole.subject]
    if len(numbers) > MOST:
        means = mean_losses(read_metrics(run.folder.metrics))
        numbers = sorted(sorted(numbers, key=lambda number: -means.get(number, 0.0))[:MOST])
    with run.feedback.status("measuring what each photo taught"):
        losses = tuple(
            PhotoLoss(
                image=str(shown[number].sample.image),
                base=_loss(run, learner.base, prepared.encoded[number], number),
                now=_loss(run, learner.predict, prepared.encoded[number], number),
            )
            for number in numbers
        )
    write_json({"step": step, "photos": [asdict(each) for each in losses]}, kept)
    return losses


def read_photo_losses(file: Path) -> tuple[PhotoLoss, ...]:
    """What was kept; empty where nothing was measured."""
    kept = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"photos": ()}
    return tuple(PhotoLoss(**each) for each in kept["photos"])


def standing_out(losses: Sequence[PhotoLoss]) -> list[tuple[PhotoLoss, float]]:
    """Photos that are learned far worse than the others, with how many times the median photo's loss theirs is, the
    worst first."""
    return [(losses[number], times) for number, times in hardest({n: each.now for n, each in enumerate(losses)})]


def worst_in_words(losses: Sequence[PhotoLoss]) -> list[str]:
    """A sentence for each photo that stands out."""
    return [
        f"{Path(each.image).name} is learned worst: its loss is {times:.1f} times the median photo's. See whether its "
        "caption says what it shows, and whether it shows the subject"
        for each, times in standing_out(losses)
    ]


def _loss(run: Run, predict: Velocity, photo: EncodedSample, number: int) -> float:
    """Mean over SIGMAS."""
    return float(losses_at(SIGMAS, photo, predict, generator_for(0, number, "photo loss"), run).mean())
