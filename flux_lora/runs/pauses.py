"""What is done between two steps: the held-out loss, checkpoints and their scores, previews, and what looks amiss."""

from collections.abc import Callable

from PIL import Image
from torch import Tensor

from flux_lora.adapter.attach import adapter_of
from flux_lora.adapter.files import adapter_digest
from flux_lora.config.choices import Control
from flux_lora.config.schema import TrainConfig
from flux_lora.models.family import Pipeline
from flux_lora.render.kept import save_image
from flux_lora.runs.base_answers import DRIFT, PRESERVATION_WEIGHT
from flux_lora.runs.early_stop import EarlyStop
from flux_lora.runs.encoding import PreparedRun
from flux_lora.runs.held_out import HeldOutLoss
from flux_lora.runs.learning_check import LearningCheck
from flux_lora.runs.non_finite import NonFiniteSteps
from flux_lora.runs.previews import previews_of
from flux_lora.runs.run import Run
from flux_lora.runs.slow_steps import SlowSteps, memory_held
from flux_lora.runs.summary import note
from flux_lora.train import checkpoints
from flux_lora.train.learner import Learner
from flux_lora.train.loop import Launched, Step
from flux_lora.train.reporters import Reporter


def checkpoints_left(config: TrainConfig, start: int) -> int:
    """How many are still to be saved after this step."""
    return sum(saves(config, number) for number in range(start + 1, config.steps + 1))


def saves(config: TrainConfig, number: int) -> bool:
    """Whether there is a checkpoint after this step."""
    return number % config.save_every == 0 or number == config.steps


class Pauses:
    """What is done between two steps: the held-out loss, checkpoints and their scores, previews."""

    def __init__(
        self, run: Run, prepared: PreparedRun, pipeline: Pipeline, learner: Learner, reporter: Reporter, *, start: int
    ) -> None:
        self._run, self._learner, self._reporter = run, learner, reporter
        self._previews = _Previews(run, prepared, pipeline)
        self._early_stop = EarlyStop(run, prepared.dataset, pipeline)
        self._held_out = HeldOutLoss(run, prepared.held_out, learner, start=start)
        self._check = LearningCheck(run.config, prepared.encoded, pipeline.transformer, run.feedback)
        self._non_finite = NonFiniteSteps(run, prepared, start=start)
        self._slow = SlowSteps(run.feedback.say, memory_held)
        self._buckets = [one.bucket for one in prepared.dataset.planned.prepared]

    @property
    def expected_loss(self) -> Callable[[Tensor], Tensor] | None:
        """The base's at a sigma, if it was measured."""
        return self._held_out.expected

    def read(self, launched: Launched) -> Step:
        """What a step did. Raises RunError where it was not finite, and that is once too often."""
        step = launched.read()
        self._non_finite.look_at(step)
        size = tuple(self._buckets[number] for number in step.samples)
        asks_more = (step.number - 1) % self._run.config.train.preservation_every == 0
        self._slow.look_at(step.number, (size, asks_more), step.seconds)
        return step

    def due(self, number: int) -> bool:
        """Whether anything is done after this step."""
        saved_or_shown = self.saves(number) or self._shows(number)
        return saved_or_shown or self._held_out.due(number) or self._check.due(number)

    def saves(self, number: int) -> bool:
        """Whether a checkpoint is saved after this step."""
        return saves(self._run.config.train, number)

    def take(self, step: Step, request: Control | None) -> bool:
        """Do what is due, and what is asked for. Whether training should end here."""
        number, over, stops = step.number, False, request is Control.stop
        if measured := self._held_out.after(number) | self._check.after(number, self._learner):
            self._reporter.measured(number, measured)
        if stops or request is Control.save or self.saves(number):
            progress = {PRESERVATION_WEIGHT: step.preservation_weight, DRIFT: step.preservation}
            saved = checkpoints.save(self._run.folder.root, number, self._learner, progress)
            self._reporter.saved(saved)
            note(self._run.folder, {"steps": number})
            over = self.saves(number) and not stops and self._early_stop.after(saved)
        if not stops and (request is Control.sample or self._shows(number)):
            self._previews.show(number, self._reporter)
        return over

    def _shows(self, number: int) -> bool:
        every = self._run.config.preview.every
        return bool(every) and number % every == 0


class _Previews:
    def __init__(self, run: Run, prepared: PreparedRun, pipeline: Pipeline) -> None:
        self._run, self._pipeline = run, pipeline
        self._previews = previews_of(run, prepared)

    def show(self, number: int, reporter: Reporter) -> None:
        """Render and keep the previews of a step."""
        folder = self._run.folder.samples / f"step-{number:06d}"
        folder.mkdir(parents=True, exist_ok=True)
        weights = self._run.weights(adapter_digest(adapter_of(self._pipeline.transformer)))
        drawn: list[tuple[str, Image.Image]] = []
        for preview in self._previews:
            images, specs = preview.drawn(self._pipeline), preview.spec.images(weights)
            for name, image, spec in zip(preview.names, images, specs, strict=True):
                save_image(image, folder / f"{len(drawn):02d}.png", spec)
                drawn.append((name, image))
        reporter.previewed(number, dict(drawn))
