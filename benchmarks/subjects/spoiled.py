"""Adapters of the gallery's subjects, good ones and ones spoiled on purpose, and what they draw.

    python -m benchmarks.subjects.spoiled FOLDER 0 1 100
    python -m benchmarks.subjects.spoiled FOLDER 0 1 100 --seed 1 --runs held

For each subject three runs (held: the demo's recipe; free: without preservation; copied: one photo under all captions),
from which come a dozen adapters: early and late checkpoints, other strengths, and one with noise in its weights. Each
draws the same prompts with the same seeds. What is there already is not made again. About ten minutes a subject on one
core.
"""

import argparse
import json
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import torch

from benchmarks.subjects.folder import write_subject
from benchmarks.subjects.subject import Subject, subject_of
from flux_lora.adapter.attach import detach, load_into
from flux_lora.adapter.files import read_adapter, write_dialect
from flux_lora.adapter.layer_types import Adapter, LoRA, adapter_at_strength
from flux_lora.config.choices import AdapterKind
from flux_lora.config.compose import compose_config
from flux_lora.evaluate.prompts import Suite
from flux_lora.render.pipeline import render
from flux_lora.runs.encoding import encode_dataset
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run, spec_of
from flux_lora.runs.training import train_adapter
from flux_lora.train.checkpoints import complete_checkpoints

SCENES, UNRELATED, SEEDS = 6, 4, (1000, 1001, 1002, 1003)
BASE = "base"
NOISE = 2.0
"""Of the noise in an adapter's factors, as a share of their own standard deviation."""
RUNS: Mapping[str, tuple[str, ...]] = {
    "held": ("train.save_every=800",),
    "free": ("train.steps=600", "train.save_every=100", "train.preservation=0", "train.class_images=0"),
    "copied": ("train.steps=500", "train.save_every=500", "train.preservation=0", "train.class_images=0"),
}
KEPT = {"held": (800, 1600, 2400), "free": (100, 300, 600), "copied": (500,)}


def main() -> None:
    """Make what is missing of the subjects whose numbers are given."""
    parser = argparse.ArgumentParser(description="adapters of the gallery's subjects, and what they draw")
    parser.add_argument("folder", type=Path)
    parser.add_argument("numbers", type=int, nargs="+", help="of subjects")
    parser.add_argument("--seed", type=int, default=0, help="of the training; each seed wants a folder of its own")
    parser.add_argument("--runs", choices=[*RUNS], nargs="+", default=[*RUNS], help="held is always among them")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for number in asked.numbers:
        make_adapters(subject_of(number), asked.folder, asked.seed, {"held", *asked.runs})


def make_adapters(subject: Subject, folder: Path, seed: int = 0, names: Collection[str] = RUNS.keys()) -> None:
    """Train, spoil and draw; one folder of images an adapter, under FOLDER/renders/<subject>."""
    runs = {name: run_of(subject, folder, name, (*RUNS[name], f"train.seed={seed}")) for name in RUNS if name in names}
    for run in runs.values():
        train(run)
    for name, adapter in {BASE: None, **_adapters(runs)}.items():
        draw(runs["held"], subject, adapter, folder, name)


def suite_of(run: Run) -> Suite:
    """The first prompts of the subject's own suite."""
    full = preflight(run).suite
    return replace(
        full, trigger=full.trigger[:SCENES], class_=full.class_[:SCENES], unrelated=full.unrelated[:UNRELATED]
    )


def run_of(subject: Subject, folder: Path, name: str, settings: Sequence[str]) -> Run:
    """The demo's recipe on the subject's photos, in a run folder of that name; the photos are written if need be."""
    photos = folder / "photos" / subject.name
    if not photos.is_dir():
        write_subject(subject, folder / "photos")
    data = _one_photo(photos, folder) if name == "copied" else photos
    whole = [
        "recipe=demo",
        f"data.folder={data}",
        f"data.trigger={subject.trigger}",
        f"data.class_word={subject.class_word}",
        f"data.kind={subject.kind}",
        f"run.dir={folder / 'runs' / subject.name / name}",
        "preview.every=0",
        "check.page=false",
        "check.off=[{rule: held-out-twin, reason: flat drawings of one size at one place are nearly the same}]",
        *settings,
    ]
    return Run(compose_config(whole))


def _one_photo(photos: Path, folder: Path) -> Path:
    """A folder with one photo under the captions of all: whatever is asked for, it is this photo."""
    place = folder / "few" / photos.name
    if not place.is_dir():
        shutil.copytree(photos / "held_out", place / "held_out")
        shutil.copy(photos / "prompts.txt", place)
        captions = sorted(photos.glob("*_*.txt"))
        for caption in captions:
            shutil.copy(caption, place)
            shutil.copy(captions[0].with_suffix(".png"), (place / caption.name).with_suffix(".png"))
    return place


def train(run: Run) -> None:
    """To the last step, if it has not been."""
    kept = [checkpoint.step for checkpoint in complete_checkpoints(run.folder.root)]
    if run.config.train.steps not in kept:
        dataset = preflight(run)
        run.begin()
        train_adapter(run, encode_dataset(run, dataset))


def _adapters(runs: Mapping[str, Run]) -> Mapping[str, Adapter]:
    made = dict(_checkpoints(runs))
    last = made["held-2400"]
    return {
        **made,
        "held-2400-weak": adapter_at_strength(last, 0.3),
        "held-2400-strong": adapter_at_strength(last, 4.0),
        "held-2400-noisy": _noisy(last),
    }


def _checkpoints(runs: Mapping[str, Run]) -> Iterator[tuple[str, Adapter]]:
    for name, run in runs.items():
        for checkpoint in complete_checkpoints(run.folder.root):
            if checkpoint.step in KEPT[name]:
                yield f"{name}-{checkpoint.step}", read_adapter(checkpoint.adapter_file)


def _noisy(adapter: Adapter) -> Adapter:
    """Noise in every factor: what a file rounded or merged badly looks like."""
    generator = torch.Generator().manual_seed(7)

    def noisy(layer: LoRA) -> LoRA:
        down, up = (
            tensor + NOISE * tensor.std() * torch.randn(tensor.shape, generator=generator)
            for tensor in (layer.down, layer.up)
        )
        return LoRA(down, up, layer.alpha)

    return Adapter({name: noisy(layer) for name, layer in adapter.layers.items()})


def draw(run: Run, subject: Subject, adapter: Adapter | None, folder: Path, name: str) -> None:
    """What the adapter makes of the suite, under FOLDER/renders/<subject>/<name>; not again if it is there."""
    place = folder / "renders" / subject.name / name
    if (place / "done").is_file():
        return
    place.mkdir(parents=True, exist_ok=True)
    spec = spec_of(run.config, suite_of(run).prompts, SEEDS)
    (place.parent / "spec.json").write_text(json.dumps(asdict(spec)))
    pipeline = run.load_pipeline()
    if adapter is not None:
        load_into(pipeline.transformer, adapter)
    for number, image in enumerate(render(pipeline, run.encode_prompts(spec.prompts), spec)):
        image.save(place / f"{number:03d}.png")
    if adapter is not None:
        dialect = "diffusers" if run.config.adapter.kind is AdapterKind.lora else "lycoris"
        write_dialect(adapter, place / "adapter.safetensors", dialect=dialect, metadata={}, dtype=torch.float32)
        detach(pipeline.transformer)
    (place / "done").touch()
    print(f"{subject.name} {name}", flush=True)


if __name__ == "__main__":
    main()
