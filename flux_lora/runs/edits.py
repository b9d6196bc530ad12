"""Editing: what held-out pairs are asked, what the base and each checkpoint make of them, and which one ships."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from PIL import Image
from torch import Tensor

from flux_lora.adapter.attach import load_into, set_strength
from flux_lora.adapter.files import read_adapter, weights_digest
from flux_lora.atomic import replacing
from flux_lora.data.bucketing.plan import Prepared
from flux_lora.data.cache import EncodedDataset, EncodedSample, EncodeOptions, encode_all
from flux_lora.data.cache.preprocess import preprocess_references, to_pixels
from flux_lora.data.images.decode import open_image
from flux_lora.evaluate.choice import Choice
from flux_lora.evaluate.edits import EditPair, choose_edit, score_edits
from flux_lora.evaluate.scores import Score
from flux_lora.models.family import Pipeline, PromptEmbeds
from flux_lora.render.kept import image_file, render_kept
from flux_lora.render.pipeline import render
from flux_lora.render.sheets import contact_sheet
from flux_lora.render.spec import RenderSpec, Weights
from flux_lora.runs.candidates import BASE, FIRST_SEED, Candidate, limits_of, sized
from flux_lora.runs.dataset import RunDataset, planned_held_out
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.manifest import references_trained_on
from flux_lora.runs.run import Run
from flux_lora.train.checkpoints import Checkpoint

MOST_PAIRS = 8
"""Held-out pairs that are judged; more say little new, and each is drawn by every candidate."""
PREVIEWED = 2


@dataclass(frozen=True)
class AskedEdit:
    """One pair as the model is asked: what is said, what is shown, and how it draws."""

    spec: RenderSpec
    """Of one prompt."""
    prompt_embeds: PromptEmbeds
    references: tuple[Tensor, ...]  # each 1CHW
    after: Tensor  # 1CHW, what is wanted
    prepared: Prepared
    """The pair's files, bucket and crop."""


def held_out_edits(run: Run, dataset: RunDataset) -> list[AskedEdit]:
    """What the held-out pairs are asked, from the cache where they were prepared."""
    data, prepared = run.config.data, planned_held_out(run, dataset)[:MOST_PAIRS]
    options = EncodeOptions(alpha=data.alpha, masks=data.masks, pixels_per_token=run.family.pixels_per_token)
    encoded = encode_all(prepared, run.encoders, run.folder.cache, wanted=options).encoded
    seeds = range(FIRST_SEED, FIRST_SEED + run.config.evaluate.seeds)
    return asked_edits(run, prepared, encoded, seeds)


def asked_edits(
    run: Run, prepared: Sequence[Prepared], encoded: EncodedDataset, seeds: Sequence[int]
) -> list[AskedEdit]:
    """Of these pairs, as they are drawn for people: at their own sizes, with the recipe's guidance."""
    return [
        _asked(run, one, sample, "|".join(keys.references), seeds)
        for one, sample, keys in zip(prepared, encoded, encoded.keys, strict=True)
    ]


def _asked(run: Run, one: Prepared, sample: EncodedSample, names: str, seeds: Sequence[int]) -> AskedEdit:
    model, evaluate = run.config.model, run.config.evaluate
    spec = RenderSpec(
        prompts=(one.sample.caption,),
        seeds=tuple(seeds),
        width=one.bucket.width,
        height=one.bucket.height,
        text_tokens=model.max_sequence_length,
        steps=evaluate.steps,
        guidance=model.render_guidance,
        made_from=sha256(names.encode()).hexdigest()[:32],
    )
    references = tuple(each[None] for each in sample.references)
    return AskedEdit(spec, sample.prompt_embeds[0], references, sample.latent[None], one)


@dataclass(frozen=True)
class JudgedEdits:
    """What was found."""

    scores: tuple[Score, ...]
    base: Score
    choice: Choice
    pairs: int


def judge_edits(
    run: Run, asked: Sequence[AskedEdit], checkpoints: Sequence[Checkpoint], pipeline: Pipeline
) -> JudgedEdits:
    """Every checkpoint at every strength on every pair, the same noise everywhere; images are not drawn twice."""
    drawer = EditDrawer(run, asked, pipeline)
    config, count = run.config, sum(len(each.spec.seeds) for each in asked)
    files = [(each.step, each.adapter_file) for each in checkpoints] or [(0, Path(config.evaluate.adapter))]
    candidates = [Candidate(*each, strength) for each in files for strength in config.evaluate.strengths]
    run.feedback.say(f"evaluation: {len(asked)} held-out pairs, {count * (1 + len(candidates))} images")
    with run.feedback.status("rendering") as status:
        status(f"rendering {count} images of the base")
        pairs = [drawer.pair(each) for each in asked]
        _keep_before(run, asked[0])
        base = score_edits(pairs, drawer.base(), step=0, strength=0.0)
        scores = []
        for candidate in candidates:
            status(f"rendering {count} images of {candidate.name}")
            images = drawer.candidate(candidate)
            scores.append(score_edits(pairs, images, step=candidate.step, strength=candidate.strength))
    return JudgedEdits(tuple(scores), base, choose_edit(scores, base, limits_of(config)), len(asked))


def before_file(folder: RunFolder) -> Path:
    """The image that the first pair is made from, as the model is shown it."""
    return folder.evaluation / "before.png"


def shown_before(run: Run) -> Path | None:
    """That image; where nothing was judged, the first that a trained one was made from. None where that is gone."""
    place = before_file(run.folder)
    first = next((file for file in references_trained_on(run.folder) if file.is_file()), None)
    if not place.is_file() and first:
        image = open_image(first, run.config.data.alpha)
        _keep(sized(image, run.config.data.resolution, run.family.pixels_per_token), place)
    return place if place.is_file() else None


def references_of(run: Run, files: Sequence[Path]) -> tuple[Tensor, ...]:
    """Latents of images that are shown as they are, each 1CHW."""
    encode = run.encoders.open_image_encoder()
    images = [open_image(file, run.config.data.alpha) for file in files]
    return tuple(encode(to_pixels(image)[None]).mean for image in images)


def _keep_before(run: Run, asked: AskedEdit) -> None:
    """The first reference alone: with several, programs beside the file begin with that one."""
    image = preprocess_references(asked.prepared, run.config.data.alpha, run.family.pixels_per_token)[0]
    _keep(image, before_file(run.folder))


def _keep(image: Image.Image, place: Path) -> None:
    with replacing(place, sync=False) as beside:
        image.save(beside, "PNG")


class EditDrawer:
    """The base in memory, and what it makes of the pairs, once."""

    def __init__(self, run: Run, asked: Sequence[AskedEdit], pipeline: Pipeline) -> None:
        self._run, self._asked, self._pipeline = run, asked, pipeline

    def pair(self, asked: AskedEdit) -> EditPair:
        """As the VAE gives it back. Of several references the first is what it was before, at the size it became."""
        decode, vae = self._run.family.decode, self._pipeline.vae
        (after,), (before,) = decode(vae, asked.after), decode(vae, asked.references[0])
        return EditPair(before.resize(after.size, Image.Resampling.LANCZOS), after)

    def base(self) -> list[list[Image.Image]]:
        """By pair and seed. To be called before any candidate is in the transformer."""
        return self._images(BASE, self._run.weights())

    def candidate(self, candidate: Candidate) -> list[list[Image.Image]]:
        """By pair and seed."""
        load_into(self._pipeline.transformer, read_adapter(candidate.file))
        set_strength(self._pipeline.transformer, candidate.strength)
        digest = weights_digest(candidate.file)
        return self._images(candidate.name, self._run.weights(digest, candidate.strength))

    def _images(self, name: str, weights: Weights) -> list[list[Image.Image]]:
        folder = self._run.folder
        images = [
            render_kept(self._draw(each), each.spec, weights, pair_folder(folder, name, number))
            for number, each in enumerate(self._asked)
        ]
        contact_sheet([row[:1] for row in images]).save(folder.evaluation / f"{name}.png")
        return images

    def _draw(self, asked: AskedEdit) -> Callable[[Sequence[int]], list[Image.Image]]:
        return partial(render, self._pipeline, [asked.prompt_embeds], asked.spec, references=asked.references)


def pair_folder(folder: RunFolder, name: str, number: int) -> Path:
    """Where what a candidate made of a pair lies."""
    return folder.evaluation / name / f"pair-{number:02d}"


def edited_images(folder: RunFolder, name: str, asked: Sequence[AskedEdit]) -> Iterator[Image.Image]:
    """What a candidate made of each pair with the first seed."""
    for number, each in enumerate(asked):
        yield Image.open(image_file(pair_folder(folder, name, number), each.spec, 0)).convert("RGB")
