"""Score checkpoints and strengths of a run against the base, and choose one; what is known of that afterwards."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from flux_lora.adapter.attach import load_into, set_strength
from flux_lora.adapter.files import read_adapter
from flux_lora.atomic import write_text
from flux_lora.config.schema import RunConfig
from flux_lora.data.images.decode import open_image
from flux_lora.errors import RunError
from flux_lora.evaluate.choice import Choice, ChoiceLimits, choose_checkpoint
from flux_lora.evaluate.clip import load_scorer
from flux_lora.evaluate.scores import METRICS, Baseline, Score, measure_baseline, score, sort_images
from flux_lora.models.family import stack_prompt_embeds
from flux_lora.render.pipeline import render
from flux_lora.render.sheets import contact_sheet
from flux_lora.render.spec import RenderSpec
from flux_lora.runs.dataset import RunDataset
from flux_lora.runs.folder import RunFolder, write_json
from flux_lora.runs.run import Run, spec_of
from flux_lora.runs.summary import note, read_summary
from flux_lora.train.checkpoints import Checkpoint, complete_checkpoints

FIRST_SEED = 1000
"""Not a seed of training or previews."""
BASE = "base"
SHEET_ROWS = 12


@dataclass(frozen=True)
class Candidate:
    """A checkpoint at a strength."""

    checkpoint: Checkpoint
    strength: float

    @property
    def name(self) -> str:
        """What its folder of images is called."""
        return candidate_name(self.checkpoint.step, self.strength)


@dataclass(frozen=True)
class EvaluationRecord:
    """How the scores came to be, for whoever tells of them later."""

    spec: RenderSpec
    held_out: int
    """Photos that training never saw."""
    doubts: tuple[str, ...]
    """Where the numbers stand on little."""


@dataclass(frozen=True)
class Evaluation:
    """All scores, and the candidate that was chosen."""

    scores: tuple[Score, ...]
    choice: Choice
    doubts: tuple[str, ...]


def evaluate_run(run: Run, dataset: RunDataset) -> Evaluation:
    """Render base and candidates with the same prompts and noise, score and choose.

    Everything is kept under evaluation/. Raises RunError where there is no checkpoint.
    """
    config, folder, suite, device = run.config, run.folder, dataset.suite, run.device
    candidates = _candidates(config, folder)
    spec = evaluation_spec(config, dataset)
    embeds = stack_prompt_embeds(run.encode_prompts(spec.prompts))
    scorer = load_scorer(config.model.scorer, device.device)
    pipeline = run.load_pipeline()
    held_out = [open_image(sample.image, config.data.alpha) for sample in dataset.held_out]
    with run.feedback.status("rendering") as status:
        status(f"rendering {len(spec.shots())} images of the base")
        base = sort_images(_kept(folder, BASE, render(pipeline, embeds, spec)), suite)
        baseline = measure_baseline(scorer, suite, base, held_out)
        scores = []
        for candidate in candidates:
            status(f"rendering {len(spec.shots())} images of {candidate.name}")
            load_into(pipeline.transformer, read_adapter(candidate.checkpoint.adapter_file))
            set_strength(pipeline.transformer, candidate.strength)
            images = sort_images(_kept(folder, candidate.name, render(pipeline, embeds, spec)), suite)
            scores.append(score(scorer, baseline, images, step=candidate.checkpoint.step, strength=candidate.strength))
    write_json(asdict(EvaluationRecord(spec, len(held_out), baseline.doubts)), _record(folder))
    return _decide(config, folder, scores, baseline)


def choice_in_words(choice: Choice) -> str:
    """The choice in a sentence or two."""
    return f"step {choice.step} at strength {choice.strength:g}. {choice.why}"


def evaluation_spec(config: RunConfig, dataset: RunDataset) -> RenderSpec:
    """What every candidate is asked to draw."""
    seeds = tuple(range(FIRST_SEED, FIRST_SEED + config.evaluate.seeds))
    return spec_of(config, dataset.suite.prompts, seeds, steps=config.evaluate.steps)


def candidate_name(step: int, strength: float) -> str:
    """What the folder of images of a checkpoint at a strength is called."""
    return f"step-{step:06d}-strength-{strength:g}"


def rendered_images(folder: RunFolder, name: str) -> list[Image.Image]:
    """The images of a candidate, or of the base, in the order of the spec's shots."""
    return [Image.open(file).convert("RGB") for file in sorted((folder.evaluation / name).glob("*.png"))]


def evaluation_record(folder: RunFolder) -> EvaluationRecord | None:
    """How the run was judged, if it was."""
    if not _record(folder).is_file():
        return None
    kept = json.loads(_record(folder).read_text(encoding="utf-8"))
    spec = kept["spec"] | {"prompts": tuple(kept["spec"]["prompts"]), "seeds": tuple(kept["spec"]["seeds"])}
    return EvaluationRecord(RenderSpec(**spec), kept["held_out"], tuple(kept["doubts"]))


def chosen_images_folder(folder: RunFolder) -> Path | None:
    """The folder of what the chosen checkpoint drew while it was judged, if one was chosen."""
    chosen = read_summary(folder)["chosen"]
    return folder.evaluation / candidate_name(chosen["step"], chosen["strength"]) if isinstance(chosen, dict) else None


def chosen_scores(folder: RunFolder) -> Mapping[str, Any]:
    """What summary.json says of the chosen checkpoint at its strength; empty if none was chosen."""
    known = read_summary(folder)
    chosen, scores = known["chosen"], known["scores"]
    assert isinstance(scores, list), "the summary is ours"
    wanted = (chosen["step"], chosen["strength"]) if isinstance(chosen, dict) else None
    return next((each for each in scores if (each["step"], each["strength"]) == wanted), {})


def limits_of(config: RunConfig) -> ChoiceLimits:
    """What an adapter may spoil."""
    return ChoiceLimits(max_leakage=config.evaluate.max_leakage, min_adherence=config.evaluate.min_adherence)


def _candidates(config: RunConfig, folder: RunFolder) -> list[Candidate]:
    kept = complete_checkpoints(folder.root)
    if not kept:
        raise RunError(f"{folder.root} has no checkpoint to evaluate", fix=f"run: flux-lora train run={folder.root}")
    count = min(config.evaluate.checkpoints, len(kept))
    chosen = [kept[round((index + 1) * len(kept) / count) - 1] for index in range(count)]
    return [Candidate(checkpoint, strength) for checkpoint in chosen for strength in config.evaluate.strengths]


def _kept(folder: RunFolder, name: str, images: Sequence[Image.Image]) -> list[Image.Image]:
    """Written to evaluation/<name>/, with a sheet beside, and handed on."""
    place: Path = folder.evaluation / name
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("*.png"):
        old.unlink()
    for index, image in enumerate(images):
        image.save(place / f"{index:03d}.png")
    contact_sheet(list(_rows(images, SHEET_ROWS))).save(folder.evaluation / f"{name}.png")
    return list(images)


def _rows(images: Sequence[Image.Image], length: int) -> Iterator[Sequence[Image.Image]]:
    for first in range(0, len(images), length):
        yield images[first : first + length]


def _decide(config: RunConfig, folder: RunFolder, scores: Sequence[Score], baseline: Baseline) -> Evaluation:
    choice = choose_checkpoint(scores, limits_of(config))
    lines = [json.dumps(asdict(each)) for each in scores]
    write_text("".join(f"{line}\n" for line in lines), folder.evaluation / "scores.jsonl")
    write_json(asdict(choice), folder.evaluation / "choice.json")
    note(folder, {"chosen": asdict(choice), "scores": [_short(each) for each in scores]})
    return Evaluation(tuple(scores), choice, baseline.doubts)


def _record(folder: RunFolder) -> Path:
    return folder.evaluation / "record.json"


def _short(score: Score) -> dict[str, object]:
    """A score without its numbers of single images, for summary.json."""
    estimates = {metric.name: score.of(metric) for metric in METRICS}
    numbers = {name: {"value": it.value, "low": it.low, "high": it.high} for name, it in estimates.items()}
    return {"step": score.step, "strength": score.strength, **numbers}
