"""Candidates of a run: a checkpoint at a strength, its images, and which of them are worth judging in full."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from flux_lora.adapter.attach import load_into, set_strength
from flux_lora.adapter.files import read_adapter, weights_digest
from flux_lora.config.schema import EvaluateConfig, RunConfig
from flux_lora.data.cache.preprocess import to_pixels
from flux_lora.data.checks.subject_words import subjects
from flux_lora.data.images.decode import open_image
from flux_lora.data.images.masks import read_mask
from flux_lora.data.images.resize import in_whole_tokens
from flux_lora.data.samples import Sample
from flux_lora.evaluate.baseline import Baseline, Photos
from flux_lora.evaluate.choice import ChoiceLimits
from flux_lora.evaluate.features import GRID
from flux_lora.models.family import Pipeline
from flux_lora.render.kept import not_kept, render_kept
from flux_lora.render.pipeline import render
from flux_lora.render.sheets import contact_sheet
from flux_lora.render.spec import RenderSpec, Weights
from flux_lora.runs.dataset import RunDataset
from flux_lora.runs.run import Run
from flux_lora.runs.summary import read_summary
from flux_lora.train.checkpoints import Checkpoint

BASE = "base"
FIRST_SEED = 1000
"""Of evaluation: not a seed of training or previews."""
SHEET_ROWS = 12
MOST_TRAINING_PHOTOS = 48
"""More say nothing new of the subject, and each is compared with every image."""
HALF_MASKED = 0.5


@dataclass(frozen=True)
class Candidate:
    """A checkpoint, or another tool's LoRA, at a strength."""

    step: int
    """0 for the file of another tool."""
    file: Path
    strength: float

    @property
    def name(self) -> str:
        """What its folder of images is called."""
        return candidate_name(self.step, self.strength)


@dataclass(frozen=True)
class Dropped:
    """A checkpoint that a look was enough for."""

    step: int
    likeness: float
    images: int
    """How many were looked at."""


def candidate_name(step: int, strength: float) -> str:
    """What the folder of images of a checkpoint at a strength is called."""
    return f"step-{step:06d}-strength-{strength:g}"


def limits_of(config: RunConfig) -> ChoiceLimits:
    """What an adapter may spoil."""
    wanted = vars(config.evaluate)
    return ChoiceLimits(**{field.name: wanted[field.name] for field in fields(ChoiceLimits)})


class Drawer:
    """The base in memory, and images that are rendered once."""

    def __init__(self, run: Run, spec: RenderSpec, pipeline: Pipeline | None = None, *, prefix: str = "") -> None:
        """`prefix`: of the names of its folders, so that another base's lie beside them."""
        self._prefix = prefix
        self._run, self._folder = run, run.folder
        self._embeds = run.encode_prompts(spec.prompts)  # before the base is opened: a card need not hold both
        self.spec, self.pipeline = spec, pipeline or run.load_pipeline()
        self._digests: dict[Path, str] = {}
        self.seconds_per_image = 0.0
        """Of the base's images; 0 where all of them had been kept."""

    def base(self, name: str = BASE) -> list[Image.Image]:
        """All images of the base, in a folder of this name. To be called before any candidate is in the transformer."""
        place = self._folder.evaluation / f"{self._prefix}{name}"
        rendered = len(not_kept(self.spec, self._run.weights(), place, range(len(self.spec.shots()))))
        began = time.monotonic()
        images = self._images(name, self._run.weights(), None)
        self.seconds_per_image = (time.monotonic() - began) / rendered if rendered else 0.0
        return images

    def candidate(self, candidate: Candidate, numbers: Sequence[int] | None = None) -> list[Image.Image]:
        """The images of these shots of a candidate, all if None."""
        load_into(self.pipeline.transformer, read_adapter(candidate.file))
        set_strength(self.pipeline.transformer, candidate.strength)
        return self.in_place(candidate, numbers)

    def in_place(self, candidate: Candidate, numbers: Sequence[int] | None = None) -> list[Image.Image]:
        """The same where the transformer holds the candidate already, at its strength."""
        file = candidate.file
        digest = self._digests[file] = self._digests.get(file) or weights_digest(file)
        return self._images(candidate.name, self._run.weights(digest, candidate.strength), numbers)

    def _images(self, name: str, weights: Weights, numbers: Sequence[int] | None) -> list[Image.Image]:
        name = f"{self._prefix}{name}"
        place = self._folder.evaluation / name
        draw = partial(render, self.pipeline, self._embeds, self.spec)
        images = render_kept(draw, self.spec, weights, place, numbers=numbers)
        if numbers is None:
            contact_sheet(list(_rows(images, SHEET_ROWS))).save(self._folder.evaluation / f"{name}.png")
        return images


def finalists(
    drawer: Drawer,
    baseline: Baseline,
    checkpoints: Sequence[Checkpoint],
    wanted: EvaluateConfig,
    status: Callable[[str], None],
) -> tuple[list[Checkpoint], list[Dropped]]:
    """Successive halving by likeness at the strength nearest to 1, with the same prompts and seeds for all."""
    left, dropped, seeds = list(checkpoints), [], 1
    strength = min(wanted.strengths, key=lambda each: abs(each - 1))
    while len(left) > wanted.checkpoints:
        numbers = drawer.spec.numbers_of(range(baseline.counts[0]), min(seeds, len(drawer.spec.seeds)))
        seen: dict[int, float] = {}
        for checkpoint in left:
            status(f"a look at step {checkpoint.step}: {len(numbers)} images")
            images = drawer.candidate(Candidate(checkpoint.step, checkpoint.adapter_file, strength), numbers)
            seen[checkpoint.step] = float(baseline.look(images).clamp_max(1).mean())
        count = max(wanted.checkpoints, -(-len(left) // 2))
        ranked = sorted(left, key=lambda each: (-seen[each.step], each.step))
        dropped += [Dropped(each.step, seen[each.step], len(numbers)) for each in ranked[count:]]
        left, seeds = sorted(ranked[:count], key=lambda each: each.step), 2 * seeds
    return left, dropped


def budget_in_words(run: Run, drawer: Drawer, checkpoints: int) -> str:
    """How long it will take, by the base's images."""
    wanted, spec = run.config.evaluate, drawer.spec
    judged = min(wanted.checkpoints, checkpoints) * len(wanted.strengths) * len(spec.shots())
    looks = max(0, checkpoints - wanted.checkpoints) * len(spec.prompts) // 2
    images, seconds = f"evaluation: about {judged + looks} images", (judged + looks) * drawer.seconds_per_image
    if not seconds:
        return images
    spent = read_summary(run.folder)["seconds"]
    whole = sum(map(float, spent.values())) if isinstance(spent, dict) else 0.0
    share = f", {seconds / (whole + seconds):.0%} of the run" if whole else ""
    return f"{images}, {max(1, round(seconds / 60))} min{share}"


def compared_photos(dataset: RunDataset) -> Sequence[Sample]:
    """The training photos of the subject that images are compared with; regularisation images do not show it."""
    photos = subjects(dataset.samples)
    return photos[:: max(1, len(photos) // MOST_TRAINING_PHOTOS)]


def photos_as_rendered(run: Run, dataset: RunDataset, pipeline: Pipeline) -> Photos:
    """Held-out and training photos as the base's VAE gives them back, at about the size of the renders."""
    alpha, side, step = run.config.data.alpha, run.config.data.resolution, run.family.pixels_per_token
    encode = run.encoders.open_image_encoder()

    def rendered(images: Sequence[Image.Image]) -> list[Image.Image]:
        latents = (encode(to_pixels(sized(image, side, step))[None]).mean for image in images)
        return [run.family.decode(pipeline.vae, each)[0] for each in latents]

    held_out = [open_image(sample.image, alpha) for sample in dataset.held_out]
    training = [open_image(sample.image, alpha) for sample in compared_photos(dataset)]
    return Photos(
        held_out=rendered(held_out),
        training=rendered(training),
        as_rendered=rendered,
        masks=_masks([sample.mask for sample in dataset.held_out]),
    )


def _masks(files: Sequence[Path | None]) -> Tensor | None:
    """HT; a photo without a mask is taken whole."""
    if not any(files):
        return None
    rows = []
    for file in files:
        mask = read_mask(file).resize((GRID, GRID), Image.Resampling.BOX) if file else Image.new("L", (GRID, GRID), 255)
        rows.append(torch.from_numpy(np.asarray(mask, np.float32).flatten() / 255))
    return (torch.stack(rows) >= HALF_MASKED).float()


def sized(image: Image.Image, side: int, step: int) -> Image.Image:
    """About side x side pixels in area, of whole image tokens."""
    size = in_whole_tokens(image.size, side * side, step)
    return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _rows(images: Sequence[Image.Image], length: int) -> Iterator[Sequence[Image.Image]]:
    for first in range(0, len(images), length):
        yield images[first : first + length]
