"""Likeness, adherence and leakage of a checkpoint at a strength, each with a bootstrap interval.

METRICS has a row per score; reports, model cards and summaries go through it. A new score is a function here, its
row, and a field of Score. CLIP cosines of similar images crowd together (0.90 and 0.97 may be worlds apart), so no
score is a raw cosine. Each is a share between two references measured with the same scorer:

    likeness   0 % as the base, 100 % as alike to the held-out images as those are to each other
    adherence  0 % the prompt does not matter, 100 % the base on the same prompts without the trigger
    leakage    0 % the base's very image, 100 % as far from it as the base's image of another prompt

Images of one prompt resemble each other, so the bootstrap draws whole prompts, not images.
Shape letters: N images, H held-out images, P prompts, S seeds, R resamples, D embedding width.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from flux_lora.errors import DataError
from flux_lora.evaluate.prompts import Suite

RESAMPLES = 2000
SEED = 20_240_801
TAIL = 0.025
"""Cut at each end: intervals hold 95 of 100 resamples."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, and the values it is the mean of: each[prompt][seed]."""

    value: float
    low: float
    high: float
    each: tuple[tuple[float, ...], ...] = ()


def estimate(each_PS: Tensor) -> Estimate:
    """The mean over prompts and seeds, and its bootstrap interval."""
    means_P = each_PS.mean(dim=1)
    low, high = interval(lambda draws_RP: means_P[draws_RP].mean(dim=1), len(means_P))
    return Estimate(float(means_P.mean()), low, high, _nested(each_PS))


def ratio(each_PS: Tensor, reference_PS: Tensor) -> Estimate:
    """The mean as a share of a reference's mean on the same prompts."""
    means_P, references_P = each_PS.mean(dim=1), reference_PS.mean(dim=1)

    def share(draws_RP: Tensor) -> Tensor:
        return means_P[draws_RP].mean(dim=-1) / references_P[draws_RP].mean(dim=-1)

    low, high = interval(share, len(means_P))
    all_prompts = torch.arange(len(means_P))
    return Estimate(float(share(all_prompts)), low, high, _nested(each_PS / references_P.mean()))


def difference(one: Estimate, other: Estimate) -> Estimate:
    """How much more one has than the other, image by image (same prompts, same seeds)."""
    return estimate(torch.tensor(one.each) - torch.tensor(other.each))


def interval(statistic: Callable[[Tensor], Tensor], count: int) -> tuple[float, float]:
    """Percentile bootstrap: the middle 95 % of a statistic (prompt numbers RP -> R). Seeded, so it repeats."""
    generator = torch.Generator().manual_seed(SEED)
    draws_RP = torch.randint(count, (RESAMPLES, count), generator=generator)
    low, high = torch.quantile(statistic(draws_RP).double(), torch.tensor([TAIL, 1 - TAIL], dtype=torch.double))
    return float(low), float(high)


def _nested(values_PS: Tensor) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values_PS.tolist())


SMALLEST_SPAN = 0.02
"""Smallest difference of mean cosines that is divided by: a smaller one is the scorer's noise."""

PromptKind = Literal["trigger", "class_", "unrelated"]
"""Fields of Suite and of SuiteImages."""
TRIGGER: tuple[PromptKind, ...] = ("trigger",)
WITHOUT_TRIGGER: tuple[PromptKind, ...] = ("class_", "unrelated")


class Scorer(Protocol):
    """Unit-length embeddings of images and sentences in one space; evaluate.clip has the real one."""

    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Embed images: ND, rows of length 1."""
        ...

    def text_features(self, sentences: Sequence[str]) -> Tensor:
        """Embed sentences: ND, rows of length 1."""
        ...


@dataclass(frozen=True)
class SuiteImages:
    """One image for each prompt of a suite and each seed; all seeds of a prompt stand together."""

    trigger: tuple[Image.Image, ...]
    class_: tuple[Image.Image, ...]
    unrelated: tuple[Image.Image, ...]

    def of(self, kinds: Sequence[PromptKind]) -> tuple[Image.Image, ...]:
        """The images of these kinds of prompts, one kind after the other."""
        by_kind = {"trigger": self.trigger, "class_": self.class_, "unrelated": self.unrelated}
        return tuple(image for kind in kinds for image in by_kind[kind])


@dataclass(frozen=True)
class Baseline:
    """Measurements of the base and of the held-out images; every checkpoint is scored against them."""

    centre: Tensor  # D
    held_out: Tensor  # HD, centred
    floor: float  # likeness of the base, a cosine
    ceiling: float  # likeness of the held-out images to each other
    prompts: Tensor  # PD, of the class prompts
    prompt_margin: Tensor  # PS, of the base's class images
    untouched: Tensor  # ND, the base's class and unrelated images
    spread: float  # mean distance of the base's images of different prompts

    @property
    def seeds(self) -> int:
        """How many seeds each prompt was rendered with."""
        return self.prompt_margin.shape[1]

    @property
    def doubts(self) -> tuple[str, ...]:
        """A warning for each score whose references lie too close together."""
        warnings = []
        if self.ceiling - self.floor < SMALLEST_SPAN:
            warnings.append(
                "Likeness says little here: to the scorer the held-out images are hardly more alike "
                f"({self.ceiling:.2f}) than the base's renders are to them ({self.floor:.2f})."
            )
        if float(self.prompt_margin.mean()) < SMALLEST_SPAN:
            warnings.append("Adherence says little here: the scorer cannot tell the base's own images apart by prompt.")
        return tuple(warnings)


def likeness(features_ND: Tensor, baseline: Baseline) -> Estimate:
    """Similarity to the held-out images, between the base's and theirs to each other."""
    span = max(baseline.ceiling - baseline.floor, SMALLEST_SPAN)
    cosines_N = _held_out_cosine(features_ND, baseline.held_out, baseline.centre)
    return estimate(((cosines_N - baseline.floor) / span).reshape(-1, baseline.seeds))


def adherence(features_ND: Tensor, baseline: Baseline) -> Estimate:
    """CLIP margin of the own prompt over the others, as a share of the base's."""
    margins_PS = _prompt_margin(features_ND, baseline.prompts).reshape(-1, baseline.seeds)
    if float(baseline.prompt_margin.mean()) < SMALLEST_SPAN:
        return estimate(margins_PS / SMALLEST_SPAN)
    return ratio(margins_PS, baseline.prompt_margin)


def leakage(features_ND: Tensor, baseline: Baseline) -> Estimate:
    """Cosine distance to the base's image of the same prompt and seed, as a share of that between prompts."""
    distances_N = (1 - (features_ND * baseline.untouched).sum(dim=-1)) / baseline.spread
    return estimate(distances_N.reshape(-1, baseline.seeds))


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A score: how it is computed, and what people are told about it."""

    name: str
    """Its field in Score and its key in scores.jsonl and summary.json."""
    title: str
    zero: str
    """What 0 % means, for a table."""
    full: str
    """What 100 % means, for a table."""
    meaning: str
    """The same as a sentence."""
    higher_is_better: bool
    prompts: tuple[PromptKind, ...]
    """Whose images are measured; Estimate.each has their prompts in this order."""
    measure: Callable[[Tensor, Baseline], Estimate]
    """(image embeddings ND, baseline) -> estimate"""


METRICS = (
    Metric(
        name="likeness",
        title="Likeness",
        zero="what the base draws",
        full="as alike to the photos as those are to each other",
        meaning="How alike the images are to photos that training never saw: 0% is what the base draws, "
        "100% is as alike as those photos are to each other.",
        higher_is_better=True,
        prompts=TRIGGER,
        measure=likeness,
    ),
    Metric(
        name="adherence",
        title="Prompt following",
        zero="the prompt does not matter",
        full="the base without the trigger",
        meaning="How clearly each image tells its own prompt from the others: "
        "100% is what the base manages when the trigger is left out.",
        higher_is_better=True,
        prompts=TRIGGER,
        measure=adherence,
    ),
    Metric(
        name="leakage",
        title="Leakage",
        zero="images without the trigger stay as they were",
        full="they are as far from the base's as another prompt's",
        meaning="How much images without the trigger changed: 0% is not at all, "
        "100% is as different as the image of another prompt.",
        higher_is_better=False,
        prompts=WITHOUT_TRIGGER,
        measure=leakage,
    ),
)


@dataclass(frozen=True)
class Score:
    """The scores of one checkpoint at one strength: a field for each of METRICS."""

    step: int
    strength: float
    likeness: Estimate
    adherence: Estimate
    leakage: Estimate

    def of(self, metric: Metric) -> Estimate:
        """The field of this metric."""
        return vars(self)[metric.name]


def sort_images(images: Sequence[Image.Image], suite: Suite) -> SuiteImages:
    """Renders of suite.prompts, in the order of RenderSpec.shots -> by kind."""
    seeds, left = divmod(len(images), len(suite.prompts))
    assert seeds and not left, f"{len(images)} images for {len(suite.prompts)} prompts"
    first = len(suite.trigger) * seeds
    second = first + len(suite.class_) * seeds
    return SuiteImages(tuple(images[:first]), tuple(images[first:second]), tuple(images[second:]))


def measure_baseline(scorer: Scorer, suite: Suite, base: SuiteImages, held_out: Sequence[Image.Image]) -> Baseline:
    """Everything that stays the same for all checkpoints. Raises DataError for fewer than 2 held-out images."""
    if len(held_out) < 2:
        raise DataError(
            f"likeness needs at least 2 held-out images and there are {len(held_out)}",
            fix="move 3 or 4 of the images into a folder held_out inside data.folder, then train again",
        )
    photos_HD = scorer.image_features(held_out)
    renders_ND = scorer.image_features(base.of(TRIGGER))
    centre = (photos_HD.mean(dim=0) + renders_ND.mean(dim=0)) / 2
    centred_HD = normalize(photos_HD - centre, dim=-1)
    untouched_ND = scorer.image_features(base.of(WITHOUT_TRIGGER))
    prompts_PD = scorer.text_features(suite.class_)
    class_ND = untouched_ND[: len(base.class_)]
    return Baseline(
        centre=centre,
        held_out=centred_HD,
        floor=float(_held_out_cosine(renders_ND, centred_HD, centre).mean()),
        ceiling=_mutual_cosine(centred_HD),
        prompts=prompts_PD,
        prompt_margin=_prompt_margin(class_ND, prompts_PD).reshape(len(suite.class_), -1),
        untouched=untouched_ND,
        spread=_spread(untouched_ND, len(suite.class_ + suite.unrelated)),
    )


def score(scorer: Scorer, baseline: Baseline, images: SuiteImages, *, step: int, strength: float) -> Score:
    """Measure the images of one checkpoint at one strength."""
    kinds = dict.fromkeys(metric.prompts for metric in METRICS)
    features = {prompts: scorer.image_features(images.of(prompts)) for prompts in kinds}
    estimates = {metric.name: metric.measure(features[metric.prompts], baseline) for metric in METRICS}
    return Score(step=step, strength=strength, **estimates)


def _held_out_cosine(features_ND: Tensor, held_out_HD: Tensor, centre: Tensor) -> Tensor:
    """Mean cosine of each image to the held-out ones, about the centre D: N."""
    return (normalize(features_ND - centre, dim=-1) @ held_out_HD.T).mean(dim=1)


def _mutual_cosine(held_out_HD: Tensor) -> float:
    """Mean cosine of the held-out images to each other."""
    cosines = held_out_HD @ held_out_HD.T
    others = ~torch.eye(len(cosines), dtype=torch.bool)
    return float(cosines[others].mean())


def _prompt_margin(features_ND: Tensor, prompts_PD: Tensor) -> Tensor:
    """Cosine of each image to its own prompt, less the mean of those to the other prompts: N."""
    cosines_NP = features_ND @ prompts_PD.T
    count = len(prompts_PD)
    own = torch.arange(count).repeat_interleave(len(features_ND) // count).unsqueeze(1)
    own_N = cosines_NP.gather(1, own).squeeze(1)
    return own_N - (cosines_NP.sum(dim=1) - own_N) / (count - 1)


def _spread(features_ND: Tensor, prompts: int) -> float:
    """Mean cosine distance of images of different prompts made from the same seed."""
    features_SPD = features_ND.reshape(prompts, -1, features_ND.shape[-1]).transpose(0, 1)
    distances_SPP = 1 - features_SPD @ features_SPD.transpose(1, 2)
    different = ~torch.eye(prompts, dtype=torch.bool)
    return max(float(distances_SPP[:, different].mean()), SMALLEST_SPAN / 10)
