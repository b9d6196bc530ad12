"""Each layer type and each optimizer, trained once with its own defaults on subjects that are only reported on.

    python -m benchmarks.subjects.kinds FOLDER 568 579           trains, draws and judges what is missing
    python -m benchmarks.subjects.kinds FOLDER 568 579 --time    trains TIMED steps of each in turns, for their seconds
    python -m benchmarks.subjects.kinds FOLDER 568 579 --table   only prints what is there; --write keeps it

A way is the demo's recipe with one setting changed, and the learning rate that goes with it: LoRA's for every layer
type; a third of it for Lion, 1 for Prodigy, as docs and `runs/learning_check.py` have them. Ten minutes a way and
subject on one core.
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import torch

from benchmarks.subjects.beside import COLUMNS, RECIPE, folder_of, judge_way, rows
from benchmarks.subjects.spoiled import BASE, draw, run_of, train
from benchmarks.subjects.subject import Subject, subject_of
from flux_lora.adapter.files import read_adapter
from flux_lora.runs.run import Run
from flux_lora.train.checkpoints import complete_checkpoints

RESULT = Path(__file__).parents[1] / "results" / "kinds.md"
LYCORIS = ("export.dialects=[lycoris]", "evaluate.strengths=[1.0]")
WAYS: Mapping[str, tuple[str, ...]] = {
    RECIPE: (),
    "DoRA": ("adapter.kind=dora", *LYCORIS),
    "LoKr": ("adapter.kind=lokr", *LYCORIS),
    "LoKr at 1e-2": ("adapter.kind=lokr", "train.learning_rate=1e-2", *LYCORIS),
    "LoHa": ("adapter.kind=loha", *LYCORIS),
    "Adafactor": ("train.optimizer=adafactor",),
    "Muon": ("train.optimizer=muon",),
    "Lion at 1e-3": ("train.optimizer=lion", "train.learning_rate=1e-3"),
    "Prodigy at 1": ("train.optimizer=prodigy", "train.learning_rate=1"),
}
ONLY_LAST = "train.save_every=2400"
TIMED, UNTIMED, TURNS = 60, 10, 3
"""Steps of a run that is timed, how many of them do not count, and how often each way has its turn."""
SHORT = (f"train.steps={TIMED}", f"train.save_every={TIMED}", "train.preservation=0", "train.class_images=0")


def main() -> None:
    """Make what is missing, or print the table."""
    parser = argparse.ArgumentParser(description="layer types and optimizers beside each other")
    parser.add_argument("folder", type=Path)
    parser.add_argument("numbers", type=int, nargs="+", help="of subjects")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS], default=[*WAYS])
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    subjects = [subject_of(number) for number in asked.numbers]
    if asked.time:
        for turn in range(TURNS):
            for way in asked.ways:
                train(_timed(subjects[0], asked.folder, way, turn))
    elif not asked.table:
        for subject in subjects:
            for way in asked.ways:
                _make(subject, asked.folder, way)
    text = "\n".join(_page(subjects, asked.folder)) + "\n"
    print(text)
    if asked.write:
        RESULT.write_text(text)


def _make(subject: Subject, folder: Path, way: str) -> None:
    run = run_of(subject, folder, folder_of(way), (ONLY_LAST, *WAYS[way]))
    train(run)
    draw(run, subject, None, folder, BASE)
    last = max(complete_checkpoints(run.folder.root), key=lambda each: each.step)
    draw(run, subject, read_adapter(last.adapter_file), folder, folder_of(way))
    judge_way(run, subject, folder, way)


def _timed(subject: Subject, folder: Path, way: str, turn: int) -> Run:
    return run_of(subject, folder, f"timed-{folder_of(way)}-{turn}", (*WAYS[way], *SHORT))


def _seconds(subject: Subject, folder: Path, way: str) -> float:
    """Of a step without preservation: the median of the turns' medians; 0 where it was not timed."""
    files = [folder / "runs" / subject.name / f"timed-{folder_of(way)}-{turn}" for turn in range(TURNS)]
    steps = [
        [json.loads(line)["seconds"] for line in (each / "metrics.jsonl").read_text().splitlines()]
        for each in files
        if (each / "metrics.jsonl").is_file()
    ]
    return median(median(each[UNTIMED:]) for each in steps) if steps else 0.0


def _page(subjects: Sequence[Subject], folder: Path) -> Iterator[str]:
    yield "# Layer types and optimizers"
    yield ""
    yield (
        f"By `python -m benchmarks.subjects.kinds`, on up to {len(subjects)} subjects that are only reported on, one "
        "training seed: the demo's recipe, which is LoRA of rank 16 with AdamW at 3e-3 for 2400 steps, with another "
        "layer type or optimizer. Its last checkpoint at strength 1, 24 images with the trigger, 24 of the class, 16 "
        "of other things, judged as in learned.md. Behind each share its difference from the recipe, paired by "
        "subject, with a 95% bootstrap interval over subjects. Seconds: of a step without preservation on one core, "
        "the ways in turns, as a multiple of the recipe's. MB: of the file in 32 bits."
    )
    yield ""
    yield f"| way | subjects | {' | '.join(COLUMNS)} | seconds | MB |"
    yield f"| --- | ---: | {' | '.join('---:' for _ in COLUMNS)} | ---: | ---: |"
    usual = _seconds(subjects[0], folder, RECIPE)
    for way, number, cells in rows([*WAYS], subjects, folder):
        seconds = _seconds(subjects[0], folder, way)
        file = folder / "renders" / subjects[0].name / folder_of(way) / "adapter.safetensors"
        size = f"{file.stat().st_size / 1e6:.1f}"
        yield f"| {way} | {number} | {' | '.join(cells)} | {f'{seconds / usual:.2f}' if seconds else '-'} | {size} |"


if __name__ == "__main__":
    main()
