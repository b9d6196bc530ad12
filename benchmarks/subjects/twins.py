"""Near-twins of a subject: what is not it, by one part, one colour or the order of two."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from benchmarks.subjects.subject import APART, Part, Subject, lab_distance
from scripts.mini.things import Colour
from scripts.mini.world import COLOURS

MAIN = ("body", "head")
"""Without these it would be another thing altogether."""


def near_twins(subject: Subject) -> dict[str, tuple[Part, ...]]:
    """What was changed -> the twin's parts."""
    random = Random(f"twins {subject.number}")
    names = list(dict.fromkeys(part.name for part in subject.parts))
    extras = [name for name in names if name not in MAIN]
    left_out, recoloured = random.choice(extras), random.choice(extras)
    one, other = random.sample(names, 2)
    colours = {part.name: part.colour for part in subject.parts}
    new = _another(list(colours.values()), random)
    return {
        f"without {left_out}": tuple(part for part in subject.parts if part.name != left_out),
        f"other {recoloured}": _recoloured(subject.parts, {recoloured: new}),
        f"other {MAIN[0]}": _recoloured(subject.parts, {MAIN[0]: new}),
        f"{one} and {other} exchanged": _recoloured(subject.parts, {one: colours[other], other: colours[one]}),
    }


def _recoloured(parts: Sequence[Part], colours: dict[str, Colour]) -> tuple[Part, ...]:
    return tuple(replace(part, colour=colours.get(part.name, part.colour)) for part in parts)


def _another(others: Sequence[Colour], random: Random) -> Colour:
    apart = [c for c in COLOURS.values() if all(lab_distance(c, other) >= APART for other in others)]
    return random.choice(apart or [max(COLOURS.values(), key=lambda c: min(lab_distance(c, o) for o in others))])
