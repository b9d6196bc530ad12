"""Score checkpoints and strengths of a run against the base, and choose one; what is known of that afterwards."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from flux_lora.atomic import write_text
from flux_lora.config.schema import ModelConfig, RunConfig
from flux_lora.data.image_stats.copies import can_embed, load_embed
from flux_lora.errors import ModelError, RunError
from flux_lora.evaluate.baseline import Judges, Photos, SuiteImages, measure_baseline, sort_images
from flux_lora.evaluate.choice import Choice, Verdict, choose_checkpoint, score_of
from flux_lora.evaluate.clip import load_scorer
from flux_lora.evaluate.estimate import Estimate
from flux_lora.evaluate.features import colour_tokens, load_place_model
from flux_lora.evaluate.prompts import described_prompts
from flux_lora.evaluate.scores import Score, score, without_training
from flux_lora.evaluate.second_opinion import Embed, disagreements, nearer
from flux_lora.render.kept import image_file, spec_in
from flux_lora.render.spec import RenderSpec
from flux_lora.runs.candidates import (
    FIRST_SEED,
    Candidate,
    Drawer,
    Dropped,
    budget_in_words,
    candidate_name,
    finalists,
    limits_of,
    photos_as_rendered,
)
from flux_lora.runs.dataset import RunDataset
from flux_lora.runs.distilled import judge_on_distilled
from flux_lora.runs.edits import held_out_edits, judge_edits
from flux_lora.runs.folder import RunFolder, write_json
from flux_lora.runs.run import Run, spec_of
from flux_lora.runs.summary import note, read_summary
from flux_lora.train.checkpoints import Checkpoint, complete_checkpoints

DESCRIBED = "described"
"""Folder of what the base draws of evaluate.description."""


@dataclass(frozen=True)
class EvaluationRecord:
    """How the scores came to be, for whoever tells of them later."""

    spec: RenderSpec
    held_out: int
    """Photos that training never saw."""
    doubts: tuple[str, ...]
    """Where the numbers stand on little."""
    altered: float = 0.0
    """Likeness of altered copies of the held-out photos: other colours, upside down."""
    twins: float = 0.0
    """Likeness of near-twins: held-out photos with one part in another colour."""
    taken: float = 0.0
    """Share of the near-twins that would be taken for the subject."""
    dropped: tuple[Dropped, ...] = ()
    """Checkpoints that were only looked at."""
    without_training: str = ""
    """What the base reaches that is told what the subject looks like, in words."""
    on_distilled: str = ""
    """What the chosen one reaches on the model that was distilled from the base, in words."""
    distilled_images: tuple[str, ...] = ()
    """Folders of what was drawn there: the distilled model's own, then one for each strength."""


@dataclass(frozen=True)
class Evaluation:
    """All scores, and the candidate that was chosen."""

    scores: tuple[Score, ...]
    choice: Choice
    record: EvaluationRecord


def evaluate_run(run: Run, dataset: RunDataset) -> Evaluation:
    """Render base and candidates with the same prompts and noise, score and choose.

    Every checkpoint gets a look first: its images with the trigger, for one seed; the less alike half is dropped, and
    seeds are doubled, until evaluate.checkpoints are left. Those are judged in full, at every strength. Another tool's
    file (evaluate.adapter) takes the place of checkpoints. Everything is kept under evaluation/, and nothing that is
    there is rendered again. Raises RunError where there is no checkpoint.
    """
    checkpoints, spec = _checkpoints(run), evaluation_spec(run.config, dataset)
    if run.config.data.edits:
        return _kept(run.folder, _judged_as_edit(run, dataset, checkpoints))
    judges, left_out = load_judges(run.config.model, run.device.device)
    evaluation = _judged(run, dataset, checkpoints, judges, left_out)
    if run.config.model.distilled and evaluation.choice.verdict is not Verdict.nothing:
        step = evaluation.choice.step
        files = {each.step: each.adapter_file for each in checkpoints}
        chosen = Candidate(step, files.get(step, Path(run.config.evaluate.adapter)), evaluation.choice.strength)
        shown = judge_on_distilled(run, dataset, judges, chosen, spec)
        record = replace(evaluation.record, on_distilled=shown.said, distilled_images=shown.names)
        evaluation = replace(evaluation, record=record)
    return _kept(run.folder, evaluation)


def _judged_as_edit(run: Run, dataset: RunDataset, checkpoints: Sequence[Checkpoint]) -> Evaluation:
    """By held-out pairs. Captions are encoded before the base is opened."""
    asked = held_out_edits(run, dataset)
    found = judge_edits(run, asked, checkpoints, run.load_pipeline())
    base = found.base["edited"]
    doubts = tuple(_seen_before(run.config, dataset))
    unedited = f"Without training, the base makes {base.value:.0%} of the edit ({base.low:.0%} to {base.high:.0%})."
    record = EvaluationRecord(spec=asked[0].spec, held_out=found.pairs, doubts=doubts, without_training=unedited)
    return Evaluation(found.scores, found.choice, record)


def _judged(
    run: Run, dataset: RunDataset, checkpoints: Sequence[Checkpoint], judges: Judges, left_out: Sequence[str]
) -> Evaluation:
    """On the base."""
    config, suite, spec = run.config, dataset.suite, evaluation_spec(run.config, dataset)
    run.encode_prompts(described(config, dataset))  # where they were not prepared: before the base is opened
    drawer = Drawer(run, spec)
    with run.feedback.status("rendering") as status:
        status(f"rendering {len(spec.shots())} images of the base")
        base = sort_images(drawer.base(), suite)
        run.feedback.say(budget_in_words(run, drawer, max(1, len(checkpoints))))
        in_words = _described(run, dataset, drawer)
        status("measuring the photos")
        photos = photos_as_rendered(run, dataset, drawer.pipeline)
        baseline = measure_baseline(judges, suite, base, photos, pixels_per_token=run.family.pixels_per_token)
        judged, dropped = finalists(drawer, baseline, checkpoints, config.evaluate, status)
        files = [(each.step, each.adapter_file) for each in judged] or [(0, Path(config.evaluate.adapter))]
        scores = []
        for candidate in (Candidate(*each, strength) for each in files for strength in config.evaluate.strengths):
            status(f"rendering {len(spec.shots())} images of {candidate.name}")
            images = sort_images(drawer.candidate(candidate), suite)
            scores.append(score(baseline, images, step=candidate.step, strength=candidate.strength))
    choice = choose_checkpoint(scores, limits_of(config))
    chosen = rendered_images(run.folder, candidate_name(choice.step, choice.strength), spec)
    opinions = _opinions(judges, photos, base, sort_images(chosen, suite), len(spec.seeds))
    record = EvaluationRecord(
        spec=spec,
        held_out=len(photos.held_out),
        doubts=(*left_out, *_seen_before(run.config, dataset), *baseline.doubts, *disagreements(choice, opinions)),
        altered=baseline.altered,
        twins=baseline.twins,
        taken=baseline.taken,
        dropped=tuple(dropped),
        without_training=without_training(baseline, config.evaluate.description, in_words, score_of(choice, scores)),
    )
    return Evaluation(tuple(scores), choice, record)


def _seen_before(config: RunConfig, dataset: RunDataset) -> Iterator[str]:
    """What another tool made of these images had most likely seen them all."""
    if config.evaluate.adapter and dataset.held_out_by_lot:
        yield (
            "The file may have been trained on the photos that it is compared with: likeness flatters it then. Photos "
            "that it has not seen belong into a folder held_out inside data.folder."
        )


def described(config: RunConfig, dataset: RunDataset) -> tuple[str, ...]:
    """The prompts of the subject in words. Raises ConfigError where a trigger prompt does not name it."""
    data = config.data
    return described_prompts(dataset.suite, data.trigger, data.class_word, config.evaluate.description)


def _described(run: Run, dataset: RunDataset, drawer: Drawer) -> list[Image.Image]:
    """What the base draws of the subject in words; nothing where evaluate.description is empty."""
    said = described(run.config, dataset)
    if not said:
        return []
    return Drawer(run, replace(drawer.spec, prompts=said), drawer.pipeline).base(DESCRIBED)


def _opinions(judges: Judges, photos: Photos, base: SuiteImages, lora: SuiteImages, seeds: int) -> dict[str, Estimate]:
    """Of models that take a picture as a whole: the scorer, and EfficientNet-Lite0 where the extra is installed."""
    embeds: dict[str, Embed] = {"The scorer": judges.scorer.image_features}
    if can_embed():
        embed = load_embed()
        embeds["EfficientNet"] = lambda images: torch.from_numpy(np.stack([embed(image) for image in images]))
    prompts = len(base.trigger) // seeds
    return {name: nearer(each, photos.held_out, base.trigger, lora.trigger, prompts) for name, each in embeds.items()}


def load_judges(model: ModelConfig, device: torch.device) -> tuple[Judges, tuple[str, ...]]:
    """The models that images are measured with, and a sentence for each that cannot be had."""
    scorer = load_scorer(model.scorer, device)
    if not model.likeness:
        return Judges(scorer, (colour_tokens,)), ()
    try:
        return Judges(scorer, (colour_tokens, load_place_model(model.likeness, device))), ()
    except ModelError as missing:
        return Judges(scorer, (colour_tokens,)), (f"Likeness is by colours alone: {missing.problem}.",)


def choice_in_words(choice: Choice) -> str:
    """The choice in a sentence or two."""
    if choice.verdict is Verdict.nothing:
        return f"nothing to ship. {choice.why}"
    what = f"step {choice.step}" if choice.step else "the file"
    found = f"{what} at strength {choice.strength:g}. {choice.why}"
    return found if choice.passes else f"not yet: {found}"


def evaluation_spec(config: RunConfig, dataset: RunDataset, *, seeds: int = 0) -> RenderSpec:
    """What every candidate is asked to draw; with so many seeds, evaluate.seeds if 0."""
    every_seed = range(FIRST_SEED, FIRST_SEED + (seeds or config.evaluate.seeds))
    return spec_of(config, dataset.suite.prompts, tuple(every_seed), steps=config.evaluate.steps)


def rendered_images(folder: RunFolder, name: str, spec: RenderSpec) -> list[Image.Image]:
    """The images of a candidate, or of the base, in the order of the spec's shots. What an earlier evaluation with more
    prompts or seeds left beside them is not among them."""
    return [Image.open(file).convert("RGB") for file in _image_files(folder, name, spec)]


def specs_of_images(folder: RunFolder, name: str, spec: RenderSpec) -> list[str]:
    """How each of these images was made, as its own text says; empty where it does not."""
    found = [spec_in(file) for file in _image_files(folder, name, spec)]
    return [each.to_json() if each else "" for each in found]


def _image_files(folder: RunFolder, name: str, spec: RenderSpec) -> list[Path]:
    return [image_file(folder.evaluation / name, spec, number) for number in range(len(spec.shots()))]


def evaluation_record(folder: RunFolder) -> EvaluationRecord | None:
    """How the run was judged, if it was."""
    if not _record(folder).is_file():
        return None
    kept = json.loads(_record(folder).read_text(encoding="utf-8"))
    spec = kept["spec"] | {"prompts": tuple(kept["spec"]["prompts"]), "seeds": tuple(kept["spec"]["seeds"])}
    dropped = tuple(Dropped(**each) for each in kept.get("dropped", ()))
    drawn = tuple(kept.get("distilled_images", ()))
    lists = {"spec": RenderSpec(**spec), "doubts": tuple(kept["doubts"]), "dropped": dropped, "distilled_images": drawn}
    return EvaluationRecord(**kept | lists)


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


def _checkpoints(run: Run) -> tuple[Checkpoint, ...]:
    if run.config.evaluate.adapter:
        return ()
    root = run.folder.root
    kept = complete_checkpoints(root)
    if not kept:
        raise RunError(f"{root} has no checkpoint to evaluate", fix=f"run: flux-lora train run={root}")
    return tuple(kept)


def _kept(folder: RunFolder, evaluation: Evaluation) -> Evaluation:
    """Written under evaluation/ and into the summary."""
    lines = [json.dumps(asdict(each)) for each in evaluation.scores]
    write_text("".join(f"{line}\n" for line in lines), folder.evaluation / "scores.jsonl")
    write_json(asdict(evaluation.record), _record(folder))
    write_json(asdict(evaluation.choice), folder.evaluation / "choice.json")
    note(folder, {"chosen": asdict(evaluation.choice), "scores": [_short(each) for each in evaluation.scores]})
    return evaluation


def _record(folder: RunFolder) -> Path:
    return folder.evaluation / "record.json"


def _short(score: Score) -> dict[str, object]:
    """A score without its numbers of single images, for summary.json."""
    estimates = {metric.name: score.of(metric) for metric in score.metrics}
    numbers = {name: {"value": it.value, "low": it.low, "high": it.high} for name, it in estimates.items()}
    return {"step": score.step, "strength": score.strength, **numbers}
