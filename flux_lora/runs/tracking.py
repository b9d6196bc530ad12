"""The evaluation in the run's tracker: scores by step, one curve a strength, and what the chosen candidate drew."""

from PIL.Image import Image

from flux_lora.config.compose import flat_settings
from flux_lora.runs.candidates import BASE, candidate_name
from flux_lora.runs.evaluation import Evaluation, rendered_images
from flux_lora.runs.run import Run
from flux_lora.train.reporters import Started, tracker_for

MOST_PROMPTS = 6


def track_evaluation(run: Run, evaluation: Evaluation) -> None:
    """Hand scores and images to the tracker; nothing where the recipe names none."""
    config = run.config
    tracker = tracker_for(config.tracker.name, project=config.tracker.project, run_dir=run.folder.root)
    first = min(score.step for score in evaluation.scores)
    lies = str(run.folder.root.resolve())
    tracker.started(Started(run.folder.root.name, config.train.steps, first, flat_settings(config), lies))
    for score in sorted(evaluation.scores, key=lambda each: each.step):
        facts = {f"evaluation/{metric.name}/{score.strength:g}": score.of(metric).value for metric in score.metrics}
        tracker.measured(score.step, facts)
    tracker.previewed(max(score.step for score in evaluation.scores), _images(run, evaluation))
    tracker.finished("done")


def _images(run: Run, evaluation: Evaluation) -> dict[str, Image]:
    """What the base and the chosen candidate drew; of an edit, what its page shows."""
    if run.config.data.edits:
        return {}
    choice = evaluation.choice
    return {
        f"{label}: {prompt}": image
        for name, label in ((BASE, "base"), (candidate_name(choice.step, choice.strength), "chosen"))
        for prompt, image in zip(evaluation.record.spec.prompts, _first_seed(run, evaluation, name), strict=False)
    }


def _first_seed(run: Run, evaluation: Evaluation, name: str) -> list[Image]:
    spec = evaluation.record.spec
    return rendered_images(run.folder, name, spec)[:: len(spec.seeds)][:MOST_PROMPTS]
