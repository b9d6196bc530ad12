"""What the chosen adapter draws on the model that people use it with: one that was distilled from its base.

A LoRA of FLUX.2 klein base is mostly used with klein itself, which draws in four steps and without guidance. That klein
has the same layers does not say that it draws the subject as well, or at the same strength.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flux_lora.config.schema import RunConfig
from flux_lora.evaluate.baseline import Judges, measure_baseline, sort_images
from flux_lora.evaluate.choice import choose_checkpoint, score_of
from flux_lora.evaluate.scores import Score, score
from flux_lora.render.spec import RenderSpec
from flux_lora.runs.candidates import BASE, Candidate, Drawer, limits_of, photos_as_rendered
from flux_lora.runs.dataset import RunDataset
from flux_lora.runs.run import Run

PREFIX = "distilled-"
"""Of the folders of its images, beside those of the base."""


@dataclass(frozen=True)
class OnDistilled:
    """What was seen there."""

    said: str
    """In a sentence or two."""
    names: tuple[str, ...]
    """Folders of images under evaluation/: the distilled model's own, then one for each strength."""


def judge_on_distilled(
    run: Run, dataset: RunDataset, judges: Judges, chosen: Candidate, spec: RenderSpec
) -> OnDistilled:
    """Render and score the chosen adapter there, at every strength of the recipe, beside the model's own images.

    `spec` is what the base was asked to draw; steps and guidance are the distilled model's.

    The base is let go before, and the other one after it: a card need not hold both.
    """
    run.release()
    other, config, suite = run.distilled(), run.config, dataset.suite
    few = replace(spec, steps=config.model.distilled_steps, guidance=config.model.distilled_guidance)
    candidates, scores = [replace(chosen, strength=strength) for strength in config.evaluate.strengths], []
    drawer = Drawer(other, few, prefix=PREFIX)
    with run.feedback.status("rendering") as status:
        status(f"rendering {len(few.shots())} images of {other.config.model.name}")
        base = sort_images(drawer.base(), suite)
        photos = photos_as_rendered(other, dataset, drawer.pipeline)
        baseline = measure_baseline(judges, suite, base, photos, pixels_per_token=other.family.pixels_per_token)
        for candidate in candidates:
            status(f"rendering them with {candidate.name}")
            images = sort_images(drawer.candidate(candidate), suite)
            scores.append(score(baseline, images, step=candidate.step, strength=candidate.strength))
    names = tuple(f"{PREFIX}{name}" for name in (BASE, *(each.name for each in candidates)))
    return OnDistilled(_in_words(config, scores, chosen.strength), names)


def _in_words(config: RunConfig, scores: Sequence[Score], folded: float) -> str:
    """`folded`: the strength that the exported file has in its weights."""
    model, choice = config.model, choose_checkpoint(scores, limits_of(config))
    best = score_of(choice, scores)
    found, whole = best["likeness"], best["recognised"]
    sentences = [
        f"On {Path(model.distilled).name}, in {model.distilled_steps} steps at guidance {model.distilled_guidance:g}, "
        f"the exported file does best at strength {best.strength / folded:.3g}: {whole.value:.0%} of the images show "
        f"the subject as a whole, likeness {found.value:.0%} (between {found.low:.0%} and {found.high:.0%}).",
        *([] if choice.passes else [f"It does not pass there: {choice.why}"]),
    ]
    return " ".join(sentences)
