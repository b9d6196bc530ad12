"""The demo's recipe beside itself with other settings, on subjects whose truth is known: made, judged, and set side by
side. What is compared stands in relatives.py and kinds.py."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.subjects.judged import Known, Truth, images_in, softened, truth_of
from benchmarks.subjects.spoiled import BASE, suite_of
from benchmarks.subjects.subject import Subject
from flux_lora.runs.run import Run
from scripts.mini.judge import load_judge

RECIPE = "recipe"
COLUMNS = ("strict", "parts", "class as base", "others as base")


def folder_of(way: str) -> str:
    """As in "rank-32"."""
    return "-".join(re.findall(r"[a-z0-9.]+", way.lower()))


def judge_way(run: Run, subject: Subject, folder: Path, way: str) -> Truth:
    """What the way's images show, kept beside them."""
    renders = folder / "renders" / subject.name
    base = images_in(renders / BASE)
    photos = softened(images_in(folder / "photos" / subject.name))
    known, place = Known(subject, suite_of(run), base, photos, load_judge()), renders / folder_of(way)
    return truth_of(known, images_in(place), place)


def shares_of(place: Path) -> Mapping[str, float]:
    """By COLUMNS; empty where nothing was judged."""
    if not (place / "truth.json").is_file():
        return {}
    truth = Truth.read(place / "truth.json")
    return dict(zip(COLUMNS, (truth.strict, truth.parts, truth.class_same, truth.other_same), strict=True))


def rows(ways: Sequence[str], subjects: Sequence[Subject], folder: Path) -> Iterator[tuple[str, int, list[str]]]:
    """Of each way that was judged: its name, on how many subjects, and a cell for each of COLUMNS."""
    for way in ways:
        pairs = [
            (ours, theirs)
            for subject in subjects
            if (theirs := shares_of(folder / "renders" / subject.name / folder_of(way)))
            and (ours := shares_of(folder / "renders" / subject.name / RECIPE))
        ]
        if pairs:
            yield (
                way,
                len(pairs),
                [_cell(way, [(ours[name], theirs[name]) for ours, theirs in pairs]) for name in COLUMNS],
            )


def _cell(way: str, pairs: Sequence[tuple[float, float]]) -> str:
    ours, theirs = np.array(pairs).T
    if way == RECIPE:
        return f"{ours.mean():.0%}"
    drawn = np.random.default_rng(0).integers(0, len(pairs), (4000, len(pairs)))
    low, high = np.quantile((theirs - ours)[drawn].mean(axis=1), (0.025, 0.975))
    return f"{theirs.mean():.0%} ({(theirs - ours).mean():+.0%}, {low:+.0%} to {high:+.0%})"
