"""Scores while training, and its end as soon as more steps bring nothing: train.evaluate_every, off by default.

Looked at are the images of one seed that the evaluation will want anyway, so they are rendered once. The rule is the
evaluation's own: training ends where a checkpoint that ships was not beaten by the next PATIENCE ones.
"""

from collections.abc import Sequence

from flux_lora.adapter.attach import set_strength
from flux_lora.evaluate.baseline import Baseline, measure_baseline, sort_images
from flux_lora.evaluate.choice import ChoiceLimits, Verdict, choose_checkpoint
from flux_lora.evaluate.scores import Score, score
from flux_lora.models.family import Pipeline
from flux_lora.runs.candidates import Candidate, Drawer, limits_of, photos_as_rendered
from flux_lora.runs.dataset import RunDataset
from flux_lora.runs.evaluation import evaluation_spec, load_judges
from flux_lora.runs.run import Run
from flux_lora.runs.summary import note, read_summary
from flux_lora.train.checkpoints import Checkpoint

PATIENCE = 2
"""Checkpoints in a row that bring nothing better."""
STOPPED_EARLY = "stopped_early"
"""Of summary.json: the step at which training ended before its last."""


def stopped_early(run: Run) -> int:
    """The step at which the rule ended this run's training; 0 where it did not, or is switched off."""
    step = read_summary(run.folder).get(STOPPED_EARLY, 0)
    return int(str(step)) if run.config.train.evaluate_every else 0


class EarlyStop:
    """Scores checkpoints as they are saved, with the adapter that is being trained in place."""

    def __init__(self, run: Run, dataset: RunDataset, pipeline: Pipeline) -> None:
        self._run, self._dataset, self._pipeline = run, dataset, pipeline
        self._spec = evaluation_spec(run.config, dataset, seeds=1)
        self._drawer: Drawer | None = None
        self._baseline: Baseline | None = None
        self._scores: list[Score] = []

    def after(self, checkpoint: Checkpoint) -> bool:
        """Whether training should end here."""
        every = self._run.config.train.evaluate_every
        if not every or checkpoint.step % every:
            return False
        with self._run.feedback.status(f"scoring step {checkpoint.step}"):
            if self._drawer is None or self._baseline is None:
                self._drawer, self._baseline = self._measured_base()
            candidate = Candidate(checkpoint.step, checkpoint.adapter_file, 1.0)
            images = sort_images(self._drawer.in_place(candidate), self._dataset.suite)
            self._scores.append(score(self._baseline, images, step=checkpoint.step, strength=1.0))
        self._run.feedback.say(_in_words(self._scores[-1]))
        best = unbeaten(self._scores, limits_of(self._run.config))
        if not best:
            return False
        note(self._run.folder, {STOPPED_EARLY: checkpoint.step})
        self._run.feedback.say(
            f"stopped at step {checkpoint.step}: step {best} ships, and the {PATIENCE} checkpoints after it are no "
            "better. train.evaluate_every=0 goes on to the last step"
        )
        return True

    def _measured_base(self) -> tuple[Drawer, Baseline]:
        run, suite = self._run, self._dataset.suite
        drawer = Drawer(run, self._spec, self._pipeline)
        set_strength(self._pipeline.transformer, 0.0)
        base = sort_images(drawer.base(), suite)
        set_strength(self._pipeline.transformer, 1.0)
        judges, _ = load_judges(run.config.model, run.device.device)
        photos = photos_as_rendered(run, self._dataset, self._pipeline)
        return drawer, measure_baseline(judges, suite, base, photos, pixels_per_token=run.family.pixels_per_token)


def unbeaten(scores: Sequence[Score], limits: ChoiceLimits) -> int:
    """The step that ships and that the last PATIENCE ones did not beat; 0 where there is none yet."""
    choice = choose_checkpoint(scores, limits)
    later = [score for score in scores if score.step > choice.step]
    return choice.step if choice.verdict is Verdict.ship and len(later) >= PATIENCE else 0


def _in_words(found: Score) -> str:
    shown: Sequence[str] = ("likeness", "recognised", "adherence", "leakage", "bleeding")
    return f"step {found.step}: " + ", ".join(f"{name} {found[name].value:.0%}" for name in shown)
