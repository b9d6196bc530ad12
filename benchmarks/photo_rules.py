"""How often each image rule is wrong, on real photographs spoiled on purpose.

    python -m benchmarks.photo_rules            # prints the page
    python -m benchmarks.photo_rules --write    # and keeps it as benchmarks/results/photo_rules.md

A miss is a spoiled photograph that its rule does not name. A false alarm is a photograph that is as it was, or changed
so little that nobody would mind, and is named all the same.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from time import process_time

from benchmarks.photographs import (
    ALL,
    BLURRED_BY_NATURE,
    INSTRUMENTS,
    LANCZOS,
    SCENES,
    SECOND_OF_A_PAIR,
    SURFACES,
    Way,
    folder,
    photograph,
    same,
)
from benchmarks.spoiled import HARMLESS, PARTS, SPOILED, TWINS
from flux_lora.data.checks.duplicates import SCENE_COSINE, near_pairs
from flux_lora.data.checks.image_quality import judge_image_quality
from flux_lora.data.image_stats.copies import can_embed, is_part, load_embed
from flux_lora.data.image_stats.measure import ImageStats, measure

RESULTS = Path(__file__).parent / "results" / "photo_rules.md"
KINDS: Mapping[str, Sequence[str]] = {"scenes": SCENES, "surfaces": SURFACES, "instruments": INSTRUMENTS}
COLUMNS = ("", *KINDS, "named")
SHORT = ("rule", "scenes missed", "photographs missed", "named without cause")
PREFACE = """# How often the image rules are wrong

`python -m benchmarks.photo_rules` on {count} photographs from scikit-image's wheel, spoiled on purpose. They are few,
small (300 to 1,400 pixels), half of them grey, and {instruments} of them come out of instruments; the thresholds were
chosen on these very photographs, so the rates below are what the rules were fitted to, and new photographs will do
somewhat worse. Scenes: {scenes}. Surfaces: {surfaces}. Instruments: {odd}.
Numbers are photographs named by the rule, of those looked at.
"""
NOT_PROMISED = "(not promised)"
"""In the name of a change that a rule is measured on and not made for."""


@dataclass(frozen=True)
class Row:
    """How many of the photographs of each kind a rule named."""

    what: str
    named: Mapping[str, Sequence[str]]
    """Kind -> which."""

    @property
    def cells(self) -> tuple[str, ...]:
        """For the table: per kind, and the names of at most four."""
        counts = [f"{len(self.named[kind])} / {len(KINDS[kind])}" for kind in KINDS]
        return (self.what, *counts, share(sum(len(each) for each in self.named.values()), len(ALL)))


def share(some: int, of_all: int) -> str:
    """As in "2 / 17 (12%)"."""
    return f"{some} / {of_all} ({some / of_all:.0%})"


AS_IT_IS = Way("as it is", same)


def looked(name: str, way: Way = AS_IT_IS) -> ImageStats:
    """A photograph, spoiled and measured."""
    return measure(Path(name), way.change(photograph(name)))


def count(way: Way, rule: str) -> Row:
    """How many photographs a rule names after something was done to them."""
    named = {kind: [name for name in names if rule in rules_of(looked(name, way))] for kind, names in KINDS.items()}
    return Row(way.name, named)


def rules_of(look: ImageStats) -> set[str]:
    """What is said of one."""
    return {finding.rule for finding in judge_image_quality([look])}


def false_alarms() -> tuple[list[Row], list[str], Counter[str]]:
    """For each harmless change, how many photographs any rule names; every false alarm in words; each rule's number."""
    rows, told, by_rule = [], [], Counter[str]()
    for way in HARMLESS:
        named: dict[str, list[str]] = {kind: [] for kind in KINDS}
        for kind, names in KINDS.items():
            for name in names:
                rules = rules_of(looked(name, way))
                by_rule.update(rules)
                named[kind] += [name] * bool(rules)
                told += [f"{stem(name)}, {way.name}: {', '.join(sorted(rules))}"] * bool(rules)
        rows.append(Row(way.name, named))
    return rows, told, by_rule


def in_short(counted: Mapping[str, Sequence[Row]], alarms: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    """For each rule, what it misses of scenes and of all, and how often it speaks without cause."""
    for rule, rows in counted.items():
        promised = [row for row in rows if NOT_PROMISED not in row.what]
        scenes = sum(len(SCENES) - len(row.named["scenes"]) for row in promised)
        missed = sum(len(ALL) - sum(len(each) for each in row.named.values()) for row in promised)
        yield (
            f"`{rule}`",
            share(scenes, len(SCENES) * len(promised)),
            share(missed, len(ALL) * len(promised)),
            share(alarms[rule], len(ALL) * len(HARMLESS)) if rule in alarms else "none",
        )


def twin_rows() -> Iterator[Row]:
    """For each change, how many photographs are known again."""
    for way in TWINS:
        yield Row(way.name, {kind: [name for name in names if known_again(name, way)] for kind, names in KINDS.items()})


def known_again(name: str, way: Way) -> bool:
    """Whether the changed photograph is called nearly the same."""
    return are_near(looked(name), looked(name, way))


def strangers() -> str:
    """What is called nearly the same among photographs of different things."""
    looks = [looked(name) for name in ALL]
    pairs = len(list(combinations(looks, 2)))
    wrong = [f"{stem(ALL[one])} and {stem(ALL[other])}" for one, other in near_pairs(looks)]
    stereo = "is" if are_near(looked("motorcycle_left.png"), looked(SECOND_OF_A_PAIR)) else "is not"
    return (
        f"Of {pairs} pairs of different photographs, {len(wrong)} are called nearly the same"
        f"{': ' + '; '.join(wrong) if wrong else ''}. The stereo pair of the motorcycle {stereo}."
    )


def are_near(one: ImageStats, other: ImageStats) -> bool:
    """Whether two images are called nearly the same."""
    return bool(list(near_pairs([one], [other])))


def parts_found() -> tuple[list[Row], str]:
    """For each crop, how many photographs it is found in; and what is called another crop among different things."""
    embed = load_embed()
    known = {name: embed(photograph(name)) for name in (*ALL, SECOND_OF_A_PAIR)}

    def are_parts(name: str, other: str, way: Way = AS_IT_IS) -> bool:
        theirs = known[other] if way is AS_IT_IS else embed(way.change(photograph(other)))
        alike = float(known[name] @ theirs)
        return alike >= SCENE_COSINE and is_part(looked(name).copy, looked(other, way).copy)

    rows = [
        Row(way.name, {kind: [name for name in names if are_parts(name, name, way)] for kind, names in KINDS.items()})
        for way in PARTS
    ]
    wrong = [f"{stem(one)} and {stem(other)}" for one, other in combinations(ALL, 2) if are_parts(one, other)]
    stereo = "is" if are_parts("motorcycle_left.png", SECOND_OF_A_PAIR) else "is not"
    told = ", ".join(wrong) or "none"
    return rows, f"Pairs of different photographs that are called one: {told}. The stereo pair {stereo}."


def seconds_a_look() -> float:
    """CPU seconds for one photograph of a megapixel, decoded: the median."""
    image = photograph("hubble_deep_field.jpg").resize((1200, 900), LANCZOS)
    taken = []
    for _ in range(5):
        start = process_time()
        measure(Path("hubble"), image)
        taken.append(process_time() - start)
    return median(taken)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table: the first column to the left, numbers to the right."""
    rules = [":--", *("--:" for _ in columns[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, rules, *rows))


def stem(name: str) -> str:
    """A photograph's name without its ending."""
    return Path(name).stem


def page() -> str:
    """Everything, as it is kept."""
    named = {kind: ", ".join(stem(name) for name in names) for kind, names in KINDS.items()}
    preface = PREFACE.format(
        count=len(ALL),
        instruments=len(INSTRUMENTS),
        scenes=named["scenes"],
        surfaces=named["surfaces"],
        odd=named["instruments"],
    )
    counted = {rule: [count(way, rule) for way in ways] for rule, ways in SPOILED.items()}
    rows, told, by_rule = false_alarms()
    twins = list(twin_rows())
    cropped, mistaken = parts_found() if can_embed() else ([], "")
    short = list(in_short(counted | {"near-picture": twins} | ({"same-photo": cropped} if cropped else {}), by_rule))
    parts = [preface, "## In short", table(SHORT, short), "## Spoiled photographs: the rule should name all"]
    parts += [table((f"`{rule}`", *COLUMNS[1:]), [row.cells for row in each]) for rule, each in counted.items()]
    parts += [
        "## Harmless changes: no rule should name any",
        table(("any rule", *COLUMNS[1:]), [r.cells for r in rows]),
    ]
    parts += ["Every false alarm:\n\n" + "\n".join(f"* {line}" for line in told)] if told else []
    blurred_one = "blurred" in rules_of(looked(BLURRED_BY_NATURE))
    parts.append(f"`{stem(BLURRED_BY_NATURE)}`, blurred by nature, is {'' if blurred_one else 'not '}called blurred.")
    parts += ["## Known again: `near-picture` should name all but the last"]
    parts += [table(("`near-picture`", *COLUMNS[1:]), [row.cells for row in twins]), strangers()]
    if cropped:
        parts += ["## Other crops of one photo: `same-photo` should name all"]
        parts += [table(("`same-photo`", *COLUMNS[1:]), [row.cells for row in cropped]), mistaken]
    parts.append(f"One look at a decoded megapixel takes {seconds_a_look() * 1000:.0f} ms of one core.")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Print, and keep if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--write", action="store_true", help=f"keep the page as {RESULTS.name}")
    wanted = parser.parse_args()
    if folder() is None:
        raise SystemExit("the photographs are scikit-image's\nfix: run: pip install scikit-image")
    text = page()
    print(text)
    if wanted.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
