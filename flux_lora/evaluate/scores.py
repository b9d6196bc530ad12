"""Three numbers for a checkpoint at a strength, each in a unit that means something.

CLIP cosines of similar pictures crowd together (0.90 and 0.97 may be worlds apart), so none is
reported raw. Each is a share between two things that were measured with the same scorer:

    likeness   0 % as the base, 100 % as alike to the held-out pictures as those are to each other
    adherence  0 % the prompt does not matter, 100 % the base on the same prompts without the trigger
    leakage    0 % the base's very picture, 100 % as far from it as the base's picture of another prompt

Shape letters: N pictures, H held-out pictures, P prompts, S seeds, D embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from flux_lora.errors import DataError
from flux_lora.evaluate.estimates import Estimate, estimate, ratio
from flux_lora.evaluate.prompts import Suite

SMALLEST_SPAN = 0.02
"""Cosines closer than this are the scorer's noise; dividing by less would invent likeness."""


class Scorer(Protocol):
    """Puts pictures and sentences on one sphere; evaluate.clip has the real one."""

    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Embed pictures: ND, rows of length 1."""
        ...

    def text_features(self, sentences: Sequence[str]) -> Tensor:
        """Embed sentences: ND, rows of length 1."""
        ...


@dataclass(frozen=True)
class SuiteImages:
    """One picture for each prompt of a suite and each seed; all seeds of a prompt stand together."""

    trigger: tuple[Image.Image, ...]
    class_: tuple[Image.Image, ...]
    unrelated: tuple[Image.Image, ...]


@dataclass(frozen=True)
class Score:
    """What one checkpoint at one strength is worth. Leakage's prompts: class first, then unrelated."""

    step: int
    strength: float
    likeness: Estimate
    adherence: Estimate
    leakage: Estimate


@dataclass(frozen=True)
class Baseline:
    """What the base and the held-out pictures say; every checkpoint is measured against it."""

    centre: Tensor  # D
    held_out: Tensor  # HD, centred
    floor: float  # likeness of the base, a cosine
    ceiling: float  # likeness of the held-out pictures to each other
    prompts: Tensor  # PD, of the class prompts
    prompt_margin: Tensor  # PS, how well the base's class pictures tell their prompt
    untouched: Tensor  # ND, the base's class and unrelated pictures
    spread: float  # mean distance of the base's pictures of different prompts

    @property
    def doubts(self) -> tuple[str, ...]:
        """Plain warnings where a score stands on little."""
        found = []
        if self.ceiling - self.floor < SMALLEST_SPAN:
            found.append(
                "Likeness says little here: to the scorer the held-out pictures are hardly more alike "
                f"({self.ceiling:.2f}) than the base's renders are to them ({self.floor:.2f})."
            )
        if float(self.prompt_margin.mean()) < SMALLEST_SPAN:
            found.append("Adherence says little here: the scorer cannot tell the base's own pictures apart by prompt.")
        return tuple(found)


def sort_images(images: Sequence[Image.Image], suite: Suite) -> SuiteImages:
    """Renders of suite.prompts, in the order of RenderSpec.shots -> by kind."""
    seeds, left = divmod(len(images), len(suite.prompts))
    assert seeds and not left, f"{len(images)} pictures for {len(suite.prompts)} prompts"
    first = len(suite.trigger) * seeds
    second = first + len(suite.class_) * seeds
    return SuiteImages(tuple(images[:first]), tuple(images[first:second]), tuple(images[second:]))


def measure_baseline(scorer: Scorer, suite: Suite, base: SuiteImages, held_out: Sequence[Image.Image]) -> Baseline:
    """Everything that stays the same for all checkpoints."""
    if len(held_out) < 2:
        raise DataError(
            f"likeness needs at least 2 held-out pictures and there are {len(held_out)}",
            fix="move 3 or 4 of the pictures into a folder held_out inside data.folder, then train again",
        )
    wanted = scorer.image_features(held_out)
    started = scorer.image_features(base.trigger)
    centre = (wanted.mean(dim=0) + started.mean(dim=0)) / 2
    held = normalize(wanted - centre, dim=-1)
    untouched = scorer.image_features(base.class_ + base.unrelated)
    prompts = scorer.text_features(suite.class_)
    class_pictures = untouched[: len(base.class_)]
    return Baseline(
        centre=centre,
        held_out=held,
        floor=float(_likeness(started, held, centre).mean()),
        ceiling=_alike_each_other(held),
        prompts=prompts,
        prompt_margin=_prompt_margin(class_pictures, prompts).reshape(len(suite.class_), -1),
        untouched=untouched,
        spread=_spread(untouched, len(suite.class_ + suite.unrelated)),
    )


def score(scorer: Scorer, yardstick: Baseline, pictures: SuiteImages, *, step: int, strength: float) -> Score:
    """Measure the pictures of one checkpoint at one strength."""
    shown = scorer.image_features(pictures.trigger)
    span = max(yardstick.ceiling - yardstick.floor, SMALLEST_SPAN)
    alike = (_likeness(shown, yardstick.held_out, yardstick.centre) - yardstick.floor) / span
    now = scorer.image_features(pictures.class_ + pictures.unrelated)
    moved = (1 - (now * yardstick.untouched).sum(dim=-1)) / yardstick.spread
    seeds = len(shown) // len(yardstick.prompts)
    return Score(
        step=step,
        strength=strength,
        likeness=estimate(alike.reshape(-1, seeds)),
        adherence=_prompt_margin_share(
            _prompt_margin(shown, yardstick.prompts).reshape(-1, seeds), yardstick.prompt_margin
        ),
        leakage=estimate(moved.reshape(-1, seeds)),
    )


def _likeness(features_ND: Tensor, held_out_HD: Tensor, centre: Tensor) -> Tensor:
    """Mean cosine of each picture to the held-out ones, seen from the centre: N."""
    return (normalize(features_ND - centre, dim=-1) @ held_out_HD.T).mean(dim=1)


def _alike_each_other(held_out_HD: Tensor) -> float:
    """Mean cosine of each held-out picture to the others."""
    cosines = held_out_HD @ held_out_HD.T
    others = ~torch.eye(len(cosines), dtype=torch.bool)
    return float(cosines[others].mean())


def _prompt_margin(features_ND: Tensor, prompts_PD: Tensor) -> Tensor:
    """How much closer each picture is to its own prompt than to the other ones: N."""
    cosines = features_ND @ prompts_PD.T
    count = len(prompts_PD)
    own = torch.arange(count).repeat_interleave(len(features_ND) // count).unsqueeze(1)
    mine = cosines.gather(1, own).squeeze(1)
    return mine - (cosines.sum(dim=1) - mine) / (count - 1)


def _prompt_margin_share(told_PS: Tensor, base_told_PS: Tensor) -> Estimate:
    if float(base_told_PS.mean()) < SMALLEST_SPAN:
        return estimate(told_PS / SMALLEST_SPAN)
    return ratio(told_PS, base_told_PS)


def _spread(features_ND: Tensor, prompts: int) -> float:
    """Mean distance of pictures of different prompts made from the same seed."""
    features_SPD = features_ND.reshape(prompts, -1, features_ND.shape[-1]).transpose(0, 1)
    distances_SPP = 1 - features_SPD @ features_SPD.transpose(1, 2)
    different = ~torch.eye(prompts, dtype=torch.bool)
    return max(float(distances_SPP[:, different].mean()), SMALLEST_SPAN / 10)
