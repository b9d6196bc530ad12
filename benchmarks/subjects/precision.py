"""LoRAs trained on a whole, an int8 and an NF4 base, drawn on the whole one: does the coarser base learn as well?

    python -m benchmarks.subjects.precision FOLDER           trains, draws and judges what is missing, and prints
    python -m benchmarks.subjects.precision FOLDER --write   keeps the table in benchmarks/results/precision.md

Everything computes in bf16; adapters are drawn on the mini base in float32, as a user draws with a LoRA that was
trained on a packed base. A run is the demo's recipe without preservation, cut to STEPS. About a minute a run on
one core.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.subjects.judge import judge_image
from benchmarks.subjects.spoiled import SCENES, run_of, suite_of, train
from benchmarks.subjects.subject import Subject, subject_of
from flux_lora.adapter.attach import detach, load_into
from flux_lora.adapter.files import read_adapter
from flux_lora.evaluate.held_out_loss import fall, read_tables
from flux_lora.models.family import stack_prompt_embeds
from flux_lora.render.pipeline import render
from flux_lora.runs.run import Run, spec_of
from flux_lora.train.checkpoints import latest_checkpoint

RESULT = Path(__file__).parents[1] / "results" / "precision.md"
SUBJECTS, TRAINED_WITH, DRAWN_WITH, STEPS = (205, 211), (0, 1, 2), (1000, 1001), 300
"""Subjects that may be tuned on, seeds of training, seeds of the images."""
BASES = {"bf16": "none", "int8": "int8", "nf4": "nf4"}
"""What the base is kept in, and hardware.quantize for it."""
SHORT = (
    f"train.steps={STEPS}",
    f"train.save_every={STEPS}",
    "train.preservation=0",
    "train.class_images=0",
    "evaluate.held_out_losses=1",
)


@dataclass(frozen=True)
class Found:
    """What one run came to."""

    strict: float
    """Share of the images with the whole subject."""
    parts: float
    """Share of its parts that are there."""
    fall: float
    """By how much the loss on held-out photos fell, as a share of the base's."""


def main() -> None:
    """Make what is missing, then print."""
    parser = argparse.ArgumentParser(description="LoRAs trained on a whole, an int8 and an NF4 base")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bases", nargs="+", choices=[*BASES], default=[*BASES], help="all are needed for the table")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = {
        (base, number, seed): _found(asked.folder, base, subject_of(number), seed)
        for number in SUBJECTS
        for seed in TRAINED_WITH
        for base in asked.bases
    }
    if {*asked.bases} != {*BASES}:
        return
    text = "\n".join(_page(found)) + "\n"
    print(text)
    if asked.write:
        RESULT.write_text(text)


def _found(folder: Path, base: str, subject: Subject, seed: int) -> Found:
    """Kept beside the run."""
    packed = (f"hardware.quantize={BASES[base]}", "hardware.dtype=bf16", f"train.seed={seed}")
    run = run_of(subject, folder, f"{base}-{seed}", (*SHORT, *packed))
    kept = run.folder.root / "found.json"
    if kept.is_file():
        return Found(**json.loads(kept.read_text()))
    train(run)
    drawn = _drawn(run, run_of(subject, folder, f"drawn-{base}-{seed}", SHORT))
    judged = [judge_image(image, subject.parts) for image in drawn]
    first, *_, last = read_tables(run.folder.held_out_loss)
    found = Found(
        strict=float(np.mean([each.strict for each in judged])),
        parts=float(np.mean([each.share for each in judged])),
        fall=fall(last, first).value,
    )
    kept.write_text(json.dumps(asdict(found)))
    print(base, subject.name, seed, found, flush=True)
    return found


def _drawn(run: Run, whole: Run) -> Sequence:
    """What the last checkpoint of `run` draws on the base of `whole`."""
    checkpoint = latest_checkpoint(run.folder.root)
    assert checkpoint is not None, "it was trained"
    pipeline, spec = whole.load_pipeline(), spec_of(whole.config, suite_of(whole).trigger[:SCENES], DRAWN_WITH)
    load_into(pipeline.transformer, read_adapter(checkpoint.adapter_file))
    images = render(pipeline, stack_prompt_embeds(whole.encode_prompts(spec.prompts)), spec)
    detach(pipeline.transformer)
    return images


def _page(found: Mapping[tuple[str, int, int], Found]) -> Iterator[str]:
    images = SCENES * len(DRAWN_WITH)
    yield "# LoRAs trained on a packed base"
    yield ""
    yield (
        f"By `python -m benchmarks.subjects.precision`: the demo's recipe without preservation, {STEPS} steps, on "
        f"{len(SUBJECTS)} subjects that may be tuned on with {len(TRAINED_WITH)} training seeds each, computing in "
        f"bf16 on a CPU; {images} images a run on the whole float32 base, judged by the subject's parts. Strict: all "
        "parts, in order and colour. Fall: of the loss on held-out photos, measured on the base that was trained on. "
        "The mean and, behind ±, the standard deviation of seeds about their subject's mean; differences from bf16 are "
        "paired by subject and seed."
    )
    yield ""
    yield "| base kept in | strict | parts | fall | strict - bf16's | parts - bf16's |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for base in BASES:
        table = {name: _values(found, base, name) for name in ("strict", "parts", "fall")}
        cells = [f"{values.mean():.1%} ± {_spread(values):.1%}" for values in table.values()]
        apart = [(table[name] - _values(found, "bf16", name)).mean() for name in ("strict", "parts")]
        yield f"| {base} | {' | '.join(cells)} | {' | '.join(f'{each:+.1%}' for each in apart)} |"


def _values(found: Mapping[tuple[str, int, int], Found], base: str, name: str) -> np.ndarray:
    """A row a subject, a column a seed."""
    return np.array([[asdict(found[base, number, seed])[name] for seed in TRAINED_WITH] for number in SUBJECTS])


def _spread(values: np.ndarray) -> float:
    """Of seeds: within subjects."""
    return float(np.sqrt(values.var(axis=1, ddof=1).mean()))


if __name__ == "__main__":
    main()
