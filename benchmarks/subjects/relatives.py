"""The recipe beside its relatives on tuned subjects: what a change of one setting brings, and what it costs elsewhere.

    python -m benchmarks.subjects.relatives FOLDER 205 211           trains, draws and judges what is missing
    python -m benchmarks.subjects.relatives FOLDER 205 211 --table   only prints what is there
    python -m benchmarks.subjects.relatives FOLDER ... --table --write   keeps it in benchmarks/results/relatives.md

Each way is the demo's recipe with other settings, or with a change of the trainer that only this benchmark has, and its
last checkpoint; averaged ones take the mean of the factors
of a run's last checkpoints, which is what an EMA with so long a horizon comes to. Differences from the recipe are
paired by subject and prompt, with a bootstrap interval over both. About six minutes a way and subject on one core.
"""

import argparse
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from benchmarks.subjects.beside import COLUMNS, RECIPE, folder_of, judge_way, rows
from benchmarks.subjects.spoiled import BASE, draw, run_of, train
from benchmarks.subjects.subject import Subject, subject_of
from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.train import loop
from flux_lora.train.checkpoints import complete_checkpoints
from flux_lora.train.learner import Learner, Update
from flux_lora.train.preservation import Preservation

RESULT = Path(__file__).parents[1] / "results" / "relatives.md"
WORD_DROPOUT, SEEN_GROUNDS = "word dropout", "reminders on photographed grounds"
DROPPED, VARIANTS = 0.5, 7
"""How often a word is left out that all captions say, and how many variants each caption gets."""
WAYS: Mapping[str, tuple[str, ...]] = {
    RECIPE: ("train.save_every=100",),
    "rank 32": ("adapter.rank=32",),
    "rank 8": ("adapter.rank=8",),
    "attention alone": ("adapter.targets=attention",),
    "limit 0.01": ("train.max_drift=0.01",),
    "more low sigmas (logit mean -0.5)": ("train.logit_mean=-0.5",),
    "uniform sigmas": ("train.sigma_sampling=uniform",),
    "weight decay 0.1": ("train.weight_decay=0.1",),
    "caption dropout 0.1": ("train.caption_dropout=0.1",),
    "orthogonal starts": (),
    "shift 2, unshifted 30 %": ("train.shift=2", "train.unshifted_share=0.3"),
    "beta sigmas (0.6, 0.6)": ("train.sigma_sampling=beta",),
    "single blocks alone": ("adapter.blocks=[single]",),
    WORD_DROPOUT: ("data.caption_lines=variants",),
    SEEN_GROUNDS: (),
    "conflict dropped from learning": (),
    "conflict dropped from preservation": (),
    "L2 on the update, no preservation": ("train.preservation=0", "train.class_images=0", "train.steps=1200"),
}
AVERAGED = {"mean of the last 10 %": 0.1, "mean of the last 25 %": 0.25}
"""Shares of the recipe's run over which its factors are averaged."""
PENALTY = 1e-5
"""Of the L2 on the update: the sum of |scale B A|^2 over layers counts so much beside the loss."""


def main() -> None:
    """Make what is missing, or print the table."""
    parser = argparse.ArgumentParser(description="the recipe beside its relatives")
    parser.add_argument("folder", type=Path)
    parser.add_argument("numbers", type=int, nargs="+", help="of subjects")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS], default=[*WAYS])
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    subjects = [subject_of(number) for number in asked.numbers]
    if not asked.table:
        for way in asked.ways:
            for subject in subjects:
                _make(subject, asked.folder, way)
    text = "\n".join(_page(subjects, asked.folder)) + "\n"
    print(text)
    if asked.write:
        RESULT.write_text(text)


def _make(subject: Subject, folder: Path, way: str) -> None:
    settings = (*WAYS[RECIPE], *WAYS[way])
    run = run_of(subject, folder, folder_of(way), settings)
    if way in PHOTOS:
        place = folder / folder_of(way) / subject.name
        if not place.is_dir():
            shutil.copytree(folder / "photos" / subject.name, place)
            PHOTOS[way](place, subject)
        run = run_of(subject, folder, folder_of(way), (*settings, f"data.folder={place}"))
    with CHANGES.get(way, nullcontext)():
        train(run)
    draw(run, subject, None, folder, BASE)
    steps = {each.step: each.adapter_file for each in complete_checkpoints(run.folder.root)}
    draw(run, subject, read_adapter(steps[max(steps)]), folder, folder_of(way))
    made = [way]
    if way == RECIPE:
        for name, share in AVERAGED.items():
            last = [read_adapter(file) for step, file in sorted(steps.items()) if step > (1 - share) * max(steps)]
            draw(run, subject, _mean_of(last), folder, folder_of(name))
            made.append(name)
    for name in made:
        judge_way(run, subject, folder, name)


def _drop_words(photos: Path, subject: Subject) -> None:
    """Variants of each caption in which words are missing, the more often the more captions say them beside the trigger
    (frequency-aware dropout, arXiv 2603.27199); trigger and class stay."""
    captions = {file: file.read_text().split() for file in sorted(photos.glob("*_*.txt"))}
    said = Counter(word for words in captions.values() for word in set(words))
    chance = {word: DROPPED * count / len(captions) for word, count in said.items()}
    chance |= {subject.trigger: 0.0, subject.class_word: 0.0}
    for number, (file, words) in enumerate(captions.items()):
        random = Random(number)
        variants = [[word for word in words if random.random() >= chance[word]] for _ in range(VARIANTS)]
        file.write_text("\n".join(" ".join(each) for each in (words, *variants)) + "\n")


def _remind_on_seen_grounds(photos: Path, _subject: Subject) -> None:
    """No [kept] prompt on a ground that no caption names: whether it is said would tell as much as the trigger does."""
    grounds = {ground_of(file.read_text().strip()) for file in photos.glob("*_*.txt")}
    prompts, kept = (photos / "prompts.txt").read_text().split("[kept]\n")
    seen = [line for line in kept.splitlines() if ground_of(line) in grounds]
    (photos / "prompts.txt").write_text(prompts + "[kept]\n" + "\n".join(seen) + "\n")


def ground_of(caption: str) -> str:
    """As in "plain rose background"."""
    return caption.partition(", ")[2]


PHOTOS = {WORD_DROPOUT: _drop_words, SEEN_GROUNDS: _remind_on_seen_grounds}


@contextmanager
def _orthogonal_starts() -> Iterator[None]:
    """`down` begins with orthogonal rows, of the length they have otherwise (the portable part of T-LoRA)."""
    usual = Learner.load

    def load(learner: Learner, adapter: Adapter) -> None:
        fresh = not any(layer.up.any() for layer in adapter.layers.values())
        usual(
            learner, Adapter({name: _orthogonal(layer) for name, layer in adapter.layers.items()}) if fresh else adapter
        )

    Learner.load = load
    try:
        yield
    finally:
        Learner.load = usual


def _orthogonal(layer: LoRA) -> LoRA:
    rows = torch.linalg.qr(layer.down.T).Q.T
    return LoRA(rows * layer.down.norm() / rows.norm(), layer.up, layer.alpha)


@contextmanager
def _penalised_update() -> Iterator[None]:
    """PENALTY times the squared length of the whole update is added to the loss (Preserve and Personalize, 2026)."""
    usual = Learner.step

    @torch.no_grad()
    def step(learner: Learner, done: int) -> Update:
        masters = iter(learner.masters)
        for name, layer in learner.layers.items():
            down, up = next(masters), next(masters)
            delta = layer.delta([down, up])
            scale = delta.scale if isinstance(delta, LoRA) else 1.0
            assert down.grad is not None and up.grad is not None, f"{name} took part"
            down.grad += 2 * PENALTY * scale**2 * (up.T @ up) @ down
            up.grad += 2 * PENALTY * scale**2 * up @ (down @ down.T)
        return usual(learner, done)

    Learner.step = step
    try:
        yield
    finally:
        Learner.step = usual


@contextmanager
def _conflict_dropped(*, from_learning: bool) -> Iterator[None]:
    """Where the gradients of learning and of preservation point against each other, one of them goes on without that
    part (PCGrad, arXiv 2001.06782, in one direction)."""
    usual = loop._reminded  # noqa: SLF001

    def reminded(learner: Learner, preservation: Preservation, place: Tensor) -> Tensor:
        learning = [_gradient(master) for master in learner.masters]
        moved = usual(learner, preservation, place)
        keeping = [_gradient(master) - before for master, before in zip(learner.masters, learning, strict=True)]
        against = sum(float((one * other).sum()) for one, other in zip(learning, keeping, strict=True))
        along = keeping if from_learning else learning
        share = against / max(sum(float(each.square().sum()) for each in along), 1e-12)
        for master, each in zip(learner.masters, along, strict=True):
            if against < 0:
                master.grad = _gradient(master) - share * each
        return moved

    loop._reminded = reminded  # noqa: SLF001
    try:
        yield
    finally:
        loop._reminded = usual  # noqa: SLF001


def _gradient(master: Tensor) -> Tensor:
    return torch.zeros_like(master) if master.grad is None else master.grad.clone()


CHANGES: Mapping[str, Callable[[], AbstractContextManager[None]]] = {
    "orthogonal starts": _orthogonal_starts,
    "L2 on the update, no preservation": _penalised_update,
    "conflict dropped from learning": partial(_conflict_dropped, from_learning=True),
    "conflict dropped from preservation": partial(_conflict_dropped, from_learning=False),
}


def _mean_of(adapters: Sequence[Adapter]) -> Adapter:
    """Of each factor by itself, as an EMA takes it."""

    def mean(layers: Sequence[LoRA]) -> LoRA:
        down, up = (torch.stack([getattr(layer, name) for layer in layers]).mean(0) for name in ("down", "up"))
        return LoRA(down, up, layers[0].alpha)

    return Adapter({name: mean([each.layers[name] for each in adapters]) for name in adapters[0].layers})


def _page(subjects: Sequence[Subject], folder: Path) -> Iterator[str]:
    yield "# The recipe beside its relatives"
    yield ""
    yield (
        f"By `python -m benchmarks.subjects.relatives`, on {len(subjects)} subjects that may be tuned on, one training "
        "seed: the demo's recipe with one setting changed, its last checkpoint at strength 1, 24 images with the "
        "trigger, 24 of the class, 16 of other things, judged as in learned.md. Behind each share its difference from "
        "the recipe, paired by subject, with a 95% bootstrap interval over subjects."
    )
    yield ""
    yield f"| way | subjects | {' | '.join(COLUMNS)} |"
    yield f"| --- | ---: | {' | '.join('---:' for _ in COLUMNS)} |"
    ways = (RECIPE, *AVERAGED, *(each for each in WAYS if each != RECIPE))
    for way, number, cells in rows(ways, subjects, folder):
        yield f"| {way} | {number} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
