"""The scores of a checkpoint at a strength, each with a bootstrap interval over prompts and seeds.

METRICS has a row per score; choice, reports, model cards and summaries go through it. A new score is a function here
and its row. No score is a raw cosine: each is a share between two references that are measured alike, so that 0 % and
100 % mean something, and `zero` and `full` say what.

Shape letters: N images, P prompts, S seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from flux_lora.evaluate.baseline import (
    RECOGNISED,
    SMALLEST_MARGIN,
    Baseline,
    Measured,
    PromptKind,
    SuiteImages,
    prompt_margin,
)
from flux_lora.evaluate.estimate import Estimate, estimate, ratio

COPY = 0.5
"""How far an image's layout is like a training photo's, between the most that unseen photos and the base's images are
and the photo itself, that is called a copy."""
NEAREST_SHOWN = 3
"""Images beside their nearest training photo, for the page."""


def likeness(measured: Measured, baseline: Baseline) -> Estimate:
    """How much of the subject is there; more than the photos have of each other counts as all of it."""
    return estimate(_per_prompt(measured.found.share[baseline.rows(["trigger"])].clamp_max(1), baseline))


def recognised(measured: Measured, baseline: Baseline) -> Estimate:
    """Share of the images in which the subject is there as a whole."""
    return estimate(_per_prompt((measured.found.whole[baseline.rows(["trigger"])] >= RECOGNISED).float(), baseline))


def retrieval(measured: Measured, baseline: Baseline) -> Estimate:
    """How high the held-out photos rank the images among negatives, above where they rank the base's own.

    Negatives are the base's class images, altered copies and near-twins, as in Finer-Personalization Rank (2025). An
    image counts the share of them that it comes before: over all images this is the area under the ROC curve. 0 is what
    the base's own class images reach.
    """
    own = _share_behind(baseline.base.found.closeness[baseline.rows(["class_"])], baseline.negatives)
    found = _share_behind(measured.found.closeness[baseline.rows(["trigger"])], baseline.negatives)
    return estimate(_per_prompt((found - own.mean()) / (1 - own.mean()).clamp_min(SMALLEST_MARGIN), baseline))


def adherence(measured: Measured, baseline: Baseline) -> Estimate:
    """CLIP margin of the own prompt over the others, as a share of the base's; no image counts for more than that."""
    margins_N = prompt_margin(measured.embeddings[baseline.rows(["trigger"])], baseline.prompts)
    margins_PS = _per_prompt(margins_N, baseline).minimum(baseline.prompt_margin)
    if float(baseline.prompt_margin.mean()) < SMALLEST_MARGIN:
        return estimate(margins_PS / SMALLEST_MARGIN)
    return ratio(margins_PS, baseline.prompt_margin)


def leakage(measured: Measured, baseline: Baseline) -> Estimate:
    """Cosine distance to the base's image of the same prompt and seed, as a share of that between prompts."""
    rows = baseline.rows(["class_", "unrelated"])
    distances_N = 1 - (measured.embeddings[rows] * baseline.base.embeddings[rows]).sum(dim=-1)
    return estimate(_per_prompt(distances_N / baseline.spread, baseline))


def bleeding(measured: Measured, baseline: Baseline) -> Estimate:
    """How much more of the subject is in images of its class that do not ask for it than in the base's."""
    return _spilt(measured, baseline, "class_")


def elsewhere(measured: Measured, baseline: Baseline) -> Estimate:
    """How much more of the subject is in images of other things than in the base's."""
    return _spilt(measured, baseline, "unrelated")


def lift(measured: Measured, baseline: Baseline) -> Estimate:
    """Likeness with the trigger less that of the same prompt and seed without it."""
    with_trigger, without = (measured.found.share[baseline.rows([kind])].clamp(0, 1) for kind in ("trigger", "class_"))
    return estimate(_per_prompt(with_trigger - without, baseline))


def copying(measured: Measured, baseline: Baseline) -> Estimate:
    """Share of the images that are laid out like one training photo, more than any unseen photo or base's image is."""
    nearest = measured.nearest[baseline.rows(["trigger"])]
    return estimate(_per_prompt((nearest > _copied_from(baseline)).float(), baseline))


def _copied_from(baseline: Baseline) -> float:
    """The similarity of layout from which an image is a copy."""
    return baseline.copying_level + COPY * (1 - baseline.copying_level)


def variety(measured: Measured, baseline: Baseline) -> Estimate:
    """Spread over seeds, as a share of the base's; no prompt counts for more than that."""
    count = baseline.counts[0]
    base_P1 = baseline.base.variety[:count, None].clamp_min(1e-3)
    return ratio(measured.variety[:count, None].minimum(base_P1), base_P1)


def artefacts(measured: Measured, baseline: Baseline) -> Estimate:
    """Share of all images with a grid, lines, noise, blur, blown colours or nothing in them, beyond the base's."""
    faulty = torch.from_numpy(measured.artefacts.any(axis=1)).float()
    return estimate(_per_prompt(faulty, baseline))


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score, and what people are told about it."""

    name: str
    """Its key in Score.estimates, scores.jsonl and summary.json."""
    title: str
    zero: str
    """What 0 % means, for a table."""
    full: str
    """What 100 % means, for a table."""
    meaning: str
    """The same as a sentence."""
    higher_is_better: bool
    leads: bool = False
    """Whether it stands in the first lines of a page."""


@dataclass(frozen=True, kw_only=True)
class SuiteMetric(Metric):
    """A score of a suite's images."""

    measure: Callable[[Measured, Baseline], Estimate]
    prompts: tuple[PromptKind, ...] = ("trigger",)
    """Whose images are measured; Estimate.each has their prompts in this order."""


METRICS = (
    SuiteMetric(
        name="likeness",
        title="Likeness",
        zero="nothing of it, as in what the base draws of the class",
        full="as much of it as the held-out photos have of each other",
        meaning="How much of the subject is in the images: 0% is what the base draws of the class, "
        "100% is as much as photos that training never saw have of each other.",
        higher_is_better=True,
        measure=likeness,
        leads=True,
    ),
    SuiteMetric(
        name="recognised",
        title="Recognised",
        zero="no image shows it as a whole",
        full="every image does",
        meaning="The share of images in which the subject is there as a whole, every part in its colour.",
        higher_is_better=True,
        measure=recognised,
    ),
    SuiteMetric(
        name="retrieval",
        title="Found again",
        zero="they rank as the base's images do",
        full="before everything that is not the subject",
        meaning="How many of the base's images, of altered copies of the photos and of near-twins are less like the "
        "held-out photos than an image is: 0% is as for the base's own images, 100% is all of them.",
        higher_is_better=True,
        measure=retrieval,
    ),
    SuiteMetric(
        name="adherence",
        title="Prompt following",
        zero="the prompt does not matter",
        full="the base without the trigger",
        meaning="How clearly each image tells its own prompt from the others: "
        "100% is what the base manages when the trigger is left out.",
        higher_is_better=True,
        measure=adherence,
        leads=True,
    ),
    SuiteMetric(
        name="leakage",
        title="Leakage",
        zero="images without the trigger stay as they were",
        full="they are as far from the base's as another prompt's",
        meaning="How much images without the trigger changed: 0% is not at all, "
        "100% is as different as the image of another prompt.",
        higher_is_better=False,
        measure=leakage,
        prompts=("class_", "unrelated"),
        leads=True,
    ),
    SuiteMetric(
        name="bleeding",
        title="Class bleeding",
        zero="other things of the class stay ordinary",
        full="every one has become the subject",
        meaning="How much of the subject is in images of its class that do not say the trigger.",
        higher_is_better=False,
        measure=bleeding,
        prompts=("class_",),
    ),
    SuiteMetric(
        name="elsewhere",
        title="Seen elsewhere",
        zero="other things have nothing of it",
        full="they have become the subject",
        meaning="How much of the subject is in images of other things.",
        higher_is_better=False,
        measure=elsewhere,
        prompts=("unrelated",),
    ),
    SuiteMetric(
        name="lift",
        title="Trigger lift",
        zero="the trigger changes nothing",
        full="it is the only way to the subject",
        meaning="Likeness with the trigger less likeness without it.",
        higher_is_better=True,
        measure=lift,
    ),
    SuiteMetric(
        name="copying",
        title="Copying",
        zero="no image repeats a training photo",
        full="every image does",
        meaning="The share of images laid out like one training photo, more than unseen photos ever are.",
        higher_is_better=False,
        measure=copying,
    ),
    SuiteMetric(
        name="variety",
        title="Variety",
        zero="all seeds give one image",
        full="seeds differ as much as the base's",
        meaning="How much images of one prompt differ from seed to seed, as a share of the base's.",
        higher_is_better=True,
        measure=variety,
    ),
    SuiteMetric(
        name="artefacts",
        title="Artefacts",
        zero="no image has faults that the base's have not",
        full="every image has",
        meaning="The share of images with a grid, lines, noise, blur, blown colours or nothing in them.",
        higher_is_better=False,
        measure=artefacts,
        prompts=("trigger", "class_", "unrelated"),
    ),
)
EDIT_METRICS = (
    Metric(
        name="edited",
        title="Edit made",
        zero="nothing happens: the image as it was before",
        full="what the held-out pair becomes",
        meaning="How far the places that the edit changes have gone from before to after: 0% is the image as it was, "
        "100% is the held-out image that a person made of it.",
        higher_is_better=True,
        leads=True,
    ),
    Metric(
        name="untouched",
        title="Left alone",
        zero="everything is other",
        full="everything else is as it was",
        meaning="The share of the places that the held-out pair leaves alone and that look as before.",
        higher_is_better=True,
        leads=True,
    ),
)
"""Of an edit; edits.py measures them."""
BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in (*METRICS, *EDIT_METRICS)}


@dataclass(frozen=True)
class NearestPhoto:
    """An image and the training photo whose layout is most like its own."""

    image: int
    """Its number among those of the suite."""
    photo: int
    """The photo's number among those that were compared."""
    copied: bool
    """Whether it is nearer than any unseen photo is."""


@dataclass(frozen=True)
class Score:
    """The scores of one checkpoint at one strength, by metric."""

    step: int
    strength: float
    estimates: Mapping[str, Estimate]
    nearest: tuple[NearestPhoto, ...] = ()
    """The images with the trigger that are most like a training photo, the nearest first."""

    @property
    def candidate(self) -> str:
        """The checkpoint, or another tool's file, and its strength: step 1,125 at 1."""
        return f"{f'step {self.step:,}' if self.step else 'the file'} at {self.strength:g}"

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Those that it has, in the order of the tables."""
        return tuple(metric for name, metric in BY_NAME.items() if name in self.estimates)

    def of(self, metric: Metric) -> Estimate:
        """The estimate of this metric."""
        return self.estimates[metric.name]

    def __getitem__(self, name: str) -> Estimate:
        return self.estimates[name]


def score(baseline: Baseline, images: SuiteImages, *, step: int, strength: float) -> Score:
    """Measure the images of one checkpoint at one strength."""
    measured = baseline.measure(images)
    estimates = {metric.name: metric.measure(measured, baseline) for metric in METRICS}
    return Score(step, strength, estimates, _nearest_photos(measured, baseline))


def without_training(baseline: Baseline, description: str, images: Sequence[Image.Image], chosen: Score) -> str:
    """Whether the LoRA does better than the base that is told what the subject looks like; "" for no images."""
    if not images:
        return ""
    found = baseline.identity.likeness(baseline.features(images))
    seeds = len(images) // baseline.counts[0]
    alike = estimate(found.share.clamp_max(1).reshape(-1, seeds))
    whole = float((found.whole >= RECOGNISED).float().mean())
    lora = chosen["likeness"]
    earns = lora.low > alike.high
    verdict = "so it earns its keep" if earns else "so these words do nearly as well, and training brought little"
    return (
        f"Without training, the base that is told “{description}” reaches a likeness of {alike.value:.0%} "
        f"({alike.low:.0%} to {alike.high:.0%}) and shows the whole subject in {whole:.0%} of its images; with the "
        f"LoRA it is {lora.value:.0%} ({lora.low:.0%} to {lora.high:.0%}) and {chosen['recognised'].value:.0%}, "
        f"{verdict}."
    )


def _nearest_photos(measured: Measured, baseline: Baseline) -> tuple[NearestPhoto, ...]:
    nearest = measured.nearest[baseline.rows(["trigger"])]
    return tuple(
        NearestPhoto(image, int(measured.photo[image]), bool(nearest[image] > _copied_from(baseline)))
        for image in nearest.argsort(descending=True)[:NEAREST_SHOWN].tolist()
    )


def _spilt(measured: Measured, baseline: Baseline, kind: PromptKind) -> Estimate:
    """How much more of the subject is in images of a kind than in the base's of the same prompts and seeds."""
    rows = baseline.rows([kind])
    more_N = measured.found.share[rows].clamp(0, 1) - baseline.base.found.share[rows].clamp(0, 1)
    return estimate(_per_prompt(more_N.clamp_min(0), baseline))


def _per_prompt(values_N: Tensor, baseline: Baseline) -> Tensor:
    """PS."""
    return values_N.reshape(-1, baseline.seeds)


def _share_behind(closeness_N: Tensor, negatives_M: Tensor) -> Tensor:
    """Share of the negatives that are less close than each image: N. Ties count against it."""
    return torch.searchsorted(negatives_M.sort().values, closeness_N.contiguous()) / len(negatives_M)
