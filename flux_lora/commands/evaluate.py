"""evaluate: score checkpoints and strengths against the base, and choose one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console

from flux_lora.adapter.attach import load_into, set_strength
from flux_lora.adapter.files import read_adapter
from flux_lora.commands.machine import DeviceAndDtype, device_and_dtype
from flux_lora.commands.material import RunDataset, read_dataset
from flux_lora.commands.pictures import load_pipeline
from flux_lora.commands.prepare import encoded_prompts
from flux_lora.commands.run_folder import RunFolder, folder_of, write_json
from flux_lora.commands.summary import note, read_summary, stage
from flux_lora.config.schema import RunConfig
from flux_lora.data.judge import refuse_errors
from flux_lora.data.pictures.decode import open_image
from flux_lora.errors import RunError
from flux_lora.evaluate.choice import Choice, ChoiceLimits, choose_checkpoint
from flux_lora.evaluate.clip import load_scorer
from flux_lora.evaluate.scores import Baseline, Score, measure_baseline, score, sort_images
from flux_lora.models.family import stack_prompt_embeds
from flux_lora.render.sheets import contact_sheet
from flux_lora.render.spec import RenderSpec
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
        """What its folder of pictures is called."""
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


def evaluate(config: RunConfig) -> int:
    """Render, score and choose; everything is kept under evaluation/."""
    material = read_dataset(config)
    refuse_errors(material.findings)
    folder = folder_of(config)
    with stage(folder, "evaluate"):
        verdict = compare(config, folder, material, device_and_dtype(config.hardware))
    Console(soft_wrap=True, highlight=False).print(choice_in_words(verdict.choice))
    return 0


def compare(config: RunConfig, folder: RunFolder, material: RunDataset, machine: DeviceAndDtype) -> Evaluation:
    """Base first, then every candidate with the same prompts and noise."""
    candidates = _candidates(config, folder)
    spec = evaluation_spec(config, material)
    text = stack_prompt_embeds(encoded_prompts(config, folder, spec.prompts, machine))
    scorer = load_scorer(config.model.scorer, machine.device)
    painter = load_pipeline(config, machine)
    held_out = [open_image(sample.image, config.data.alpha) for sample in material.held_out]
    with Console(stderr=True).status("rendering") as status:
        status.update(f"rendering {len(spec.shots())} pictures of the base")
        base = sort_images(_kept(folder, BASE, painter.render(text, spec)), material.suite)
        yardstick = measure_baseline(scorer, material.suite, base, held_out)
        scores = []
        for candidate in candidates:
            status.update(f"rendering {len(spec.shots())} pictures of {candidate.name}")
            load_into(painter.transformer, read_adapter(candidate.checkpoint.adapter_file))
            set_strength(painter.transformer, candidate.strength)
            pictures = sort_images(_kept(folder, candidate.name, painter.render(text, spec)), material.suite)
            scores.append(
                score(scorer, yardstick, pictures, step=candidate.checkpoint.step, strength=candidate.strength)
            )
    write_json(asdict(EvaluationRecord(spec, len(held_out), yardstick.doubts)), _record(folder))
    return _decide(config, folder, scores, yardstick)


def choice_in_words(choice: Choice) -> str:
    """The choice in a sentence or two."""
    return f"step {choice.step} at strength {choice.strength:g}. {choice.why}"


def evaluation_spec(config: RunConfig, material: RunDataset) -> RenderSpec:
    """What every candidate is asked to draw."""
    return RenderSpec(
        prompts=material.suite.prompts,
        seeds=tuple(range(FIRST_SEED, FIRST_SEED + config.evaluate.seeds)),
        width=config.data.resolution,
        height=config.data.resolution,
        text_tokens=config.model.text_tokens,
        steps=config.evaluate.steps,
        guidance=config.model.render_guidance,
    )


def candidate_name(step: int, strength: float) -> str:
    """What the folder of pictures of a checkpoint at a strength is called."""
    return f"step-{step:06d}-strength-{strength:g}"


def rendered_images(folder: RunFolder, name: str) -> list[Image.Image]:
    """The pictures of a candidate, or of the base, in the order of the spec's shots."""
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


def _kept(folder: RunFolder, name: str, pictures: Sequence[Image.Image]) -> list[Image.Image]:
    """Written to evaluation/<name>/, with a sheet beside, and handed on."""
    place: Path = folder.evaluation / name
    place.mkdir(parents=True, exist_ok=True)
    for old in place.glob("*.png"):
        old.unlink()
    for index, picture in enumerate(pictures):
        picture.save(place / f"{index:03d}.png")
    contact_sheet(list(_rows(pictures, SHEET_ROWS))).save(folder.evaluation / f"{name}.png")
    return list(pictures)


def _rows(pictures: Sequence[Image.Image], length: int) -> Iterator[Sequence[Image.Image]]:
    for first in range(0, len(pictures), length):
        yield pictures[first : first + length]


def _decide(config: RunConfig, folder: RunFolder, scores: Sequence[Score], yardstick: Baseline) -> Evaluation:
    choice = choose_checkpoint(scores, limits_of(config))
    lines = [json.dumps(asdict(each)) for each in scores]
    half_written = folder.evaluation / "scores.partial"
    half_written.write_text("".join(f"{line}\n" for line in lines))
    half_written.replace(folder.evaluation / "scores.jsonl")
    write_json(asdict(choice), folder.evaluation / "choice.json")
    note(folder, {"chosen": asdict(choice), "scores": [_short(each) for each in scores]})
    return Evaluation(tuple(scores), choice, yardstick.doubts)


def _record(folder: RunFolder) -> Path:
    return folder.evaluation / "record.json"


def _short(each: Score) -> dict[str, object]:
    numbers = {
        name: {"value": estimate.value, "low": estimate.low, "high": estimate.high}
        for name, estimate in (("likeness", each.likeness), ("adherence", each.adherence), ("leakage", each.leakage))
    }
    return {"step": each.step, "strength": each.strength, **numbers}
