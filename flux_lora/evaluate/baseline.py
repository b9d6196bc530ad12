"""What stays the same for all checkpoints: the base's images, the photos, and what is measured of both.

A Baseline turns images of the suite into Measured numbers, image by image; scores.py makes scores of them.

Shape letters: N images, H held-out photos, P prompts, S seeds, T tokens, D features, K kinds of artefacts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from flux_lora.data.held_out import FEWEST
from flux_lora.errors import DataError
from flux_lora.evaluate.artefacts import artefacts, measure_artefacts
from flux_lora.evaluate.features import PlaceFeatures, TokensOf, centred_on
from flux_lora.evaluate.identity import Identity, Likeness, layout_similarity, learn_identity
from flux_lora.evaluate.negatives import altered_copies, near_twins
from flux_lora.evaluate.prompts import Suite

SMALLEST_MARGIN = 0.02
"""Smallest mean prompt margin, a difference of cosines, that is divided by: a smaller one is the scorer's noise."""

RECOGNISED = 0.8
"""Share of its worst kind of place from which the subject is there as a whole; near-twins stay below, see
benchmarks/results/judged.md."""

PromptKind = Literal["trigger", "class_", "unrelated"]
"""Fields of Suite and of SuiteImages."""
KINDS: tuple[PromptKind, ...] = ("trigger", "class_", "unrelated")


class Scorer(Protocol):
    """Unit-length embeddings of images and sentences in one space; evaluate.clip has the real one."""

    def image_features(self, images: Sequence[Image.Image]) -> Tensor:
        """Embed images: ND, rows of length 1."""
        ...

    def text_features(self, sentences: Sequence[str]) -> Tensor:
        """Embed sentences: ND, rows of length 1."""
        ...


@dataclass(frozen=True)
class Judges:
    """The models that images are measured with."""

    scorer: Scorer
    places: tuple[TokensOf, ...]
    """Kinds of place features: colours, and a vision model's where there is one."""


@dataclass(frozen=True)
class SuiteImages:
    """One image for each prompt of a suite and each seed; all seeds of a prompt stand together."""

    trigger: tuple[Image.Image, ...]
    class_: tuple[Image.Image, ...]
    unrelated: tuple[Image.Image, ...]

    @property
    def everything(self) -> tuple[Image.Image, ...]:
        """In the order of Suite.prompts."""
        return self.trigger + self.class_ + self.unrelated


def sort_images(images: Sequence[Image.Image], suite: Suite) -> SuiteImages:
    """Renders of suite.prompts, in the order of RenderSpec.shots -> by kind."""
    seeds, left = divmod(len(images), len(suite.prompts))
    assert seeds and not left, f"{len(images)} images for {len(suite.prompts)} prompts"
    first = len(suite.trigger) * seeds
    second = first + len(suite.class_) * seeds
    return SuiteImages(tuple(images[:first]), tuple(images[first:second]), tuple(images[second:]))


@dataclass(frozen=True)
class Photos:
    """The subject's photos, as the base's VAE gives them back."""

    held_out: Sequence[Image.Image]
    training: Sequence[Image.Image]
    as_rendered: Callable[[Sequence[Image.Image]], list[Image.Image]]
    """Does the same to other images: through the base's VAE and back."""
    masks: Tensor | None = None
    """HT, above 0 where the subject is in a held-out photo; None where no mask says."""


@dataclass(frozen=True)
class Measured:
    """Numbers of the images of one candidate, in the order of Suite.prompts and then of seeds."""

    embeddings: Tensor  # ND, the scorer's
    found: Likeness  # N
    nearest: Tensor  # N, similarity of layout to the nearest training photo
    photo: Tensor  # N, number of that photo
    variety: Tensor  # P, mean distance of layout of the images of a prompt
    artefacts: NDArray[np.bool_]  # NK


@dataclass(frozen=True)
class Baseline:
    """Measurements of the base and of the photos; every checkpoint is scored against them."""

    judges: Judges
    features: PlaceFeatures
    identity: Identity
    training: Tensor  # NTD
    base: Measured
    base_artefacts: NDArray[np.float64]  # NK
    negatives: Tensor  # N, closeness of the base's class images, altered copies and near-twins
    altered: float  # mean likeness of the altered copies
    twins: float  # mean likeness of the near-twins
    taken: float  # share of the near-twins that is taken for the subject
    copying_level: float  # most that a held-out photo or an image of the base resembles a training photo
    prompts: Tensor  # PD, of the class prompts
    prompt_margin: Tensor  # PS, of the base's class images
    spread: float  # mean distance of the base's images of different prompts
    counts: tuple[int, int, int]  # prompts of each kind
    seeds: int
    pixels_per_token: int

    def rows(self, kinds: Sequence[PromptKind]) -> slice:
        """Which images are of these kinds, which stand together."""
        starts = np.cumsum([0, *self.counts]) * self.seeds
        numbers = [KINDS.index(kind) for kind in kinds]
        return slice(int(starts[min(numbers)]), int(starts[max(numbers) + 1]))

    @property
    def doubts(self) -> tuple[str, ...]:
        """A warning for each score whose references lie too close together."""
        warnings = []
        if not self.identity.tells_apart:
            warnings.append(
                "Likeness says little here: the held-out photos share hardly anything that the base does not draw "
                "anyway. Is it one subject, and shown clearly in all of them?"
            )
        if float(self.prompt_margin.mean()) < SMALLEST_MARGIN:
            warnings.append("Adherence says little here: the scorer cannot tell the base's own images apart by prompt.")
        return tuple(warnings)

    def look(self, images: Sequence[Image.Image]) -> Tensor:
        """Likeness alone: N."""
        return self.identity.likeness(self.features(images)).share

    def measure(self, images: SuiteImages) -> Measured:
        """Everything that scores are made of."""
        everything = images.everything
        places = self.features(everything)
        nearest = layout_similarity(places.tokens, self.training).max(dim=1)
        return Measured(
            embeddings=self.judges.scorer.image_features(everything),
            found=self.identity.likeness(places),
            nearest=nearest.values,
            photo=nearest.indices,
            variety=_variety(places.tokens, self.seeds),
            artefacts=artefacts(measure_artefacts(everything, self.pixels_per_token), self.base_artefacts),
        )


def measure_baseline(
    judges: Judges, suite: Suite, base: SuiteImages, photos: Photos, *, pixels_per_token: int
) -> Baseline:
    """Everything that stays the same for all checkpoints. Raises DataError for fewer than 2 held-out photos."""
    if len(photos.held_out) < FEWEST:
        raise DataError(
            f"likeness needs at least {FEWEST} held-out images and there are {len(photos.held_out)}",
            fix="put 3 or 4 that are not trained on into a folder held_out inside data.folder",
        )
    features = centred_on(base.everything, judges.places)
    held_out, training = features(photos.held_out), features(photos.training or photos.held_out)
    drawn = features(base.everything)
    count, seeds = len(base.trigger), len(base.everything) // len(suite.prompts)
    of_class = slice(count, count + len(base.class_))
    identity = learn_identity(held_out, training, drawn, of_class, photos.masks)
    copies, twins = altered_copies(photos.held_out), near_twins(photos.held_out, identity)
    others = identity.likeness(features(photos.as_rendered([*copies, *twins])))
    nearest = layout_similarity(drawn.tokens, training.tokens).max(dim=1)
    base_artefacts = measure_artefacts(base.everything, pixels_per_token)
    embeddings = judges.scorer.image_features(base.everything)
    prompts = judges.scorer.text_features(suite.class_)
    found = identity.likeness(drawn)
    return Baseline(
        judges=judges,
        features=features,
        identity=identity,
        training=training.tokens,
        base=Measured(
            embeddings,
            found,
            nearest.values,
            nearest.indices,
            _variety(drawn.tokens, seeds),
            artefacts(base_artefacts, base_artefacts),
        ),
        base_artefacts=base_artefacts,
        negatives=torch.cat([found.closeness[of_class], others.closeness]),
        altered=float(others.share[: len(copies)].mean()),
        twins=_mean_of_any(others.share[len(copies) :]),
        taken=_mean_of_any(others.whole[len(copies) :] >= RECOGNISED),
        copying_level=_copying_level(held_out.tokens, training.tokens, nearest.values[:count]),
        prompts=prompts,
        prompt_margin=prompt_margin(embeddings[of_class], prompts).reshape(len(suite.class_), -1),
        spread=_spread(embeddings[count:], len(suite.class_ + suite.unrelated)),
        counts=(len(suite.trigger), len(suite.class_), len(suite.unrelated)),
        seeds=seeds,
        pixels_per_token=pixels_per_token,
    )


def prompt_margin(features_ND: Tensor, prompts_PD: Tensor) -> Tensor:
    """Cosine of each image to its own prompt, less the mean of those to the other prompts: N.

    Both are taken about their means: what all images of a set have in common, a new subject, is no other prompt.
    """
    images_ND, sentences_PD = (normalize(each - each.mean(dim=0), dim=-1) for each in (features_ND, prompts_PD))
    cosines_NP = images_ND @ sentences_PD.T
    count = len(prompts_PD)
    own = torch.arange(count).repeat_interleave(len(features_ND) // count).unsqueeze(1)
    own_N = cosines_NP.gather(1, own).squeeze(1)
    return own_N - (cosines_NP.sum(dim=1) - own_N) / (count - 1)


def _copying_level(held_out_HTD: Tensor, training_NTD: Tensor, base_N: Tensor) -> float:
    """Photos resemble each other, and a prompt may ask for a training photo's scene: neither is copying."""
    return max(float(layout_similarity(held_out_HTD, training_NTD).max()), float(base_N.max()))


def _variety(tokens_NTD: Tensor, seeds: int) -> Tensor:
    """Mean distance of layout between the images of each prompt: P."""
    return torch.stack([1 - _mean_beside(layout_similarity(each, each)) for each in tokens_NTD.split(seeds)])


def _mean_beside(square: Tensor) -> Tensor:
    """Mean of what is not on the diagonal; 1 for a single row."""
    others = ~torch.eye(len(square), dtype=torch.bool)
    return square[others].mean() if len(square) > 1 else square.new_ones(())


def _mean_of_any(values: Tensor) -> float:
    """0 where there are none."""
    return float(values.float().mean()) if len(values) else 0.0


def _spread(features_ND: Tensor, prompts: int) -> float:
    """Mean cosine distance of images of different prompts made from the same seed."""
    features_SPD = features_ND.reshape(prompts, -1, features_ND.shape[-1]).transpose(0, 1)
    distances_SPP = 1 - features_SPD @ features_SPD.transpose(1, 2)
    different = ~torch.eye(prompts, dtype=torch.bool)
    return max(float(distances_SPP[:, different].mean()), SMALLEST_MARGIN / 10)
