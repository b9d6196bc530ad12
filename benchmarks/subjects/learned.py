"""Whether the standard recipe learns any subject and leaves the rest alone, by the judges that know the truth.

python -m benchmarks.subjects.learned FOLDER ...          prints the table of what `judged` has looked at in FOLDER
python -m benchmarks.subjects.learned FOLDER ... --write  and keeps it in benchmarks/results/learned.md

Several folders are several training seeds: a subject's row is then their mean.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.subjects.gallery import judged_subjects, reported_subjects, tuned_subjects
from benchmarks.subjects.judged import Truth, images_in
from benchmarks.subjects.script import SETTINGS
from benchmarks.subjects.spoiled import BASE, KEPT, SCENES, SEEDS
from benchmarks.subjects.subject import Subject
from scripts.mini.judge import Judge, load_judge

RESULT = Path(__file__).parents[1] / "results" / "learned.md"
LAST = {name: max(steps) for name, steps in KEPT.items()}
WAYS = {
    f"the demo's recipe ({LAST['held']} steps)": f"held-{LAST['held']}",
    f"the same without preservation ({LAST['free']} steps)": f"free-{LAST['free']}",
    **{
        f"the diffusers script, {setting.steps} steps at {setting.learning_rate:g}": name
        for name, setting in SETTINGS.items()
    },
}
COLUMNS = ("strict", "parts", "grounds", "class as base", "but for colour", "others as base", "class and others")
BARS = {"strict": (0.8, 0.5), "grounds": (0.8, 0.6), "class and others": (0.9, 0.8)}
"""Least mean over the reported subjects, and least of any."""


@dataclass(frozen=True)
class Row:
    """What the adapters of one subject drew, one for each training seed."""

    subject: Subject
    seeds: int
    shares: tuple[float, ...]
    """By COLUMNS, on average."""


def main() -> None:
    """Print the table."""
    folders = [Path(word) for word in sys.argv[1:] if word != "--write"]
    text = "\n".join(_page(folders)) + "\n"
    print(text)
    if "--write" in sys.argv:
        RESULT.write_text(text)


def _page(folders: Sequence[Path]) -> Iterator[str]:
    yield "# Any subject learned, the rest left alone"
    yield ""
    yield (
        "By `python -m benchmarks.subjects.learned`: the last checkpoint at strength 1 of each run, 24 images with the "
        "trigger (6 prompts, 4 seeds), as many of the class, 16 of other things, by judges that know the parts and "
        "the scenes. Strict: all parts, in order and colour. As base: thing, colour, place and ground are judged as "
        "in the base's image of the same prompt and seed; but for colour: thing, place and ground are, in whatever "
        "colour, which prompts of the class leave open. Where there are several training seeds, a row is their mean. "
        "Which subjects are tuned on and which are only reported "
        "stands in `benchmarks/subjects/gallery.py`."
    )
    groups = {
        "Reported": reported_subjects(),
        "Reported later, with the evaluator's": judged_subjects(),
        "Tuned": tuned_subjects(),
    }
    for title, subjects in groups.items():
        for way, name in WAYS.items():
            rows = list(_rows(folders, subjects, name))
            if rows:
                yield from ("", f"## {title}, {way}", "", *_table(rows))
                if title != "Tuned" and way == next(iter(WAYS)):
                    yield from ("", *_bars(rows))


def _rows(folders: Sequence[Path], subjects: Sequence[Subject], name: str) -> Iterator[Row]:
    judge = load_judge()
    for subject in subjects:
        places = [folder / "renders" / subject.name / name for folder in folders]
        shares = [_shares(place, judge) for place in places if (place / "truth.json").is_file()]
        if shares:
            means = tuple(sum(column) / len(shares) for column in zip(*shares, strict=True))
            yield Row(subject, len(shares), means)


def _shares(place: Path, judge: Judge) -> tuple[float, ...]:
    truth = Truth.read(place / "truth.json")
    shares = (truth.strict, truth.parts, truth.ground, truth.class_same, _but_for_colour(place, judge))
    return (*shares, truth.other_same, (truth.class_same + truth.other_same) / 2)


def _but_for_colour(place: Path, judge: Judge) -> float:
    """Share of the class images in which thing, place and ground are as in the base's."""
    images = slice(SCENES * len(SEEDS), 2 * SCENES * len(SEEDS))
    before, after = (judge.see(images_in(each)[images]) for each in (place.parent / BASE, place))
    same = [(one.kinds, one.ground) == (other.kinds, other.ground) for one, other in zip(before, after, strict=True)]
    return sum(same) / len(same)


def _table(rows: Sequence[Row]) -> Iterator[str]:
    yield f"| subject | facts | seeds | {' | '.join(COLUMNS)} |"
    yield f"| --- | --- | ---: | {' | '.join('---:' for _ in COLUMNS)} |"
    for row in rows:
        shares = " | ".join(f"{share:.0%}" for share in row.shares)
        yield f"| {row.subject.name} | {row.subject.facts} | {row.seeds} | {shares} |"
    means = [sum(column) / len(rows) for column in zip(*(row.shares for row in rows), strict=True)]
    yield f"| **mean** | | | {' | '.join(f'**{mean:.0%}**' for mean in means)} |"


def _bars(rows: Sequence[Row]) -> Iterator[str]:
    yield "| bar | mean, wanted | mean | least, wanted | least |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, (mean, least) in BARS.items():
        column = [row.shares[COLUMNS.index(name)] for row in rows]
        yield f"| {name} | {mean:.0%} | {sum(column) / len(column):.1%} | {least:.0%} | {min(column):.1%} |"


if __name__ == "__main__":
    main()
