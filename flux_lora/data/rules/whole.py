"""What the set as a whole can teach: what changes between its pictures stays free, what stays the same is learned."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.looks.look import ImageStats
from flux_lora.data.rules.words import SubjectWords, common_folder, subjects
from flux_lora.data.samples import Sample

FEW_PICTURES = Rule("few-pictures", Severity.warning, "From few pictures only those few views are learned.")
MANY_PICTURES = Rule(
    "many-pictures", Severity.note, "More pictures than one thing needs: each is seen rarely, and poor ones hide."
)
SHARED_GROUND = Rule(
    "shared-ground", Severity.warning, "A background that most pictures share is learned as part of the thing."
)
SAME_LIGHT = Rule("same-light", Severity.note, "Light that never changes is learned as part of the thing.")
SAME_FRAMING = Rule(
    "same-framing", Severity.note, "A thing always in one place and size is later drawn in that place and size."
)
RULES: tuple[Rule, ...] = (FEW_PICTURES, MANY_PICTURES, SHARED_GROUND, SAME_LIGHT, SAME_FRAMING)

MOST = 0.6
"""Share of the pictures that makes it most of them."""
ENOUGH_TO_TELL = 6
"""Pictures. Of fewer nothing is said but that they are few."""
ONE_COLOUR = 24
"""Levels. Flat grounds that differ by less are one ground in another light."""
ONE_PLACE = 12
"""Levels, mean over the pieces of the rim. Scenes that differ by less are one place."""
LIGHT_VARIES, WARMTH_VARIES = 0.08, 0.04
"""Levels, 0 to 1, between the darkest and brightest tenth of the pictures."""
PLACE_VARIES, SIZE_VARIES = 0.05, 1.3
"""Shares of the frame, standard deviation; and how many times the largest thing is the smallest."""

GREYS = ((40, "black"), (100, "dark grey"), (190, "grey"), (235, "light grey"))
"""Level that a grey is under, and what it is called."""
DARK, LIGHT, EARTH = 110, 150, 190
EARTHY, EVENLY_MIXED = (0.3, 0.72), 0.6
"""Where the middle channel lies between the lowest and the highest."""


@dataclass(frozen=True)
class Amount:
    """How many pictures a kind of recipe is made for."""

    fewest: int
    most: int
    why: str


AMOUNTS: Mapping[str, Amount] = {
    "product": Amount(10, 80, "15 to 30, from every side that shall be drawn"),
    "character": Amount(10, 80, "15 to 30, near and far"),
    "style": Amount(15, 500, "20 to 60, of different things"),
}
ANY = Amount(5, 500, "15 to 30")


@dataclass(frozen=True)
class Facet:
    """One thing that may change from picture to picture, and whether it does."""

    name: str
    """As in "the light"."""
    varies: bool
    seen: str
    """As in "11 different"; empty where there is nothing to add."""


def judge_dataset(looks: Sequence[ImageStats], samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """What is said of the folder. Regularisation pictures are left out: they are to be of all kinds."""
    wanted = _of_the_thing(looks, samples)
    folder = common_folder(samples)
    yield from _judge_amount(len(wanted), words.kind, folder)
    if len(wanted) < ENOUGH_TO_TELL or words.kind == "style":
        return
    yield from _judge_ground(wanted, folder)
    for facet in facets(wanted):
        if facet.varies or facet.name not in FIXES:
            continue
        rule, fix = FIXES[facet.name]
        yield rule.at(folder, f"shows {facet.name} the same in nearly all {len(wanted)} pictures", fix)


def dataset_summary(looks: Sequence[ImageStats], samples: Sequence[Sample], words: SubjectWords) -> str:
    """In plain words, what this set can and cannot teach."""
    wanted = _of_the_thing(looks, samples)
    amount = AMOUNTS.get(words.kind, ANY)
    count = "is 1 picture" if len(wanted) == 1 else f"are {len(wanted)} pictures"
    said = [f"There {count} of {_called(words)}."]
    if len(wanted) < amount.fewest:
        said.append(f"That is few (take {amount.why}): expect it only as these show it.")
    if len(wanted) < ENOUGH_TO_TELL or words.kind == "style":
        return " ".join(said)
    found = facets(wanted)
    free = [f"{each.name} ({each.seen})" if each.seen else each.name for each in found if each.varies]
    fixed = [f"{each.name} ({each.seen})" if each.seen else each.name for each in found if not each.varies]
    if free:
        said.append(f"What changes between them is left to your prompts: {_and(free)}.")
    if fixed:
        said.append(f"What stays the same is learned as part of it and comes along unasked: {_and(fixed)}.")
    else:
        said.append("Nothing was found that stays the same by accident.")
    return " ".join(said)


def facets(looks: Sequence[ImageStats]) -> tuple[Facet, ...]:
    """Background, light and framing; one that cannot be told from these pictures is left out."""
    return tuple(facet for facet in (_background(looks), _light(looks), _framing(looks)) if facet)


def _judge_amount(count: int, kind: str, folder: Path) -> Iterator[Finding]:
    amount = AMOUNTS.get(kind, ANY)
    if count < amount.fewest:
        pictures = f"only {count} picture{'s' * (count != 1)}"
        yield FEW_PICTURES.at(folder, f"holds {pictures} to learn from", f"take more: {amount.why}")
    elif count > amount.most:
        fix = f"choose the best: {amount.why}, are enough"
        yield MANY_PICTURES.at(folder, f"holds {count} pictures, more than this recipe needs", fix)


def _judge_ground(looks: Sequence[ImageStats], folder: Path) -> Iterator[Finding]:
    unmasked = [look for look in looks if not look.masked]
    group = max(_backgrounds(unmasked), key=len, default=[])
    if len(group) < max(ENOUGH_TO_TELL - 1, MOST * len(looks)):
        return
    what = f"one flat background ({colour_name(group[0].ground.colour)})" if group[0].ground.flat else "one background"
    yield SHARED_GROUND.at(
        folder,
        f"has {len(group)} of {len(looks)} pictures that share {what}",
        "take some before other grounds, or give masks (name.mask.png), or set data.alpha=varied for cut-outs",
        tuple(look.image for look in group),
    )


def _backgrounds(looks: Sequence[ImageStats]) -> list[list[ImageStats]]:
    """Pictures by what is behind the thing: flat grounds by colour, scenes by what the rim looks like all around."""
    groups: list[list[ImageStats]] = []
    for look in looks:
        home = next((group for group in groups if _one_background(group[0], look)), None)
        if home is None:
            groups.append([look])
        else:
            home.append(look)
    return groups


def _one_background(look: ImageStats, other: ImageStats) -> bool:
    if look.ground.flat != other.ground.flat:
        return False
    if look.ground.flat:
        return bool(np.abs(np.subtract(look.ground.colour, other.ground.colour)).max() <= ONE_COLOUR)
    return bool(np.abs(np.subtract(look.ground.segments, other.ground.segments)).mean() <= ONE_PLACE)


def _background(looks: Sequence[ImageStats]) -> Facet | None:
    """With masks, the background is not learned, whatever it is."""
    unmasked = [look for look in looks if not look.masked]
    if not unmasked:
        return None
    groups = _backgrounds(unmasked)
    largest = max(groups, key=len)
    varies = len(largest) < MOST * len(looks)
    flat = f"flat {colour_name(largest[0].ground.colour)}" if largest[0].ground.flat else "one place"
    return Facet("the background", varies, f"{len(groups)} different" if varies else flat)


def _light(looks: Sequence[ImageStats]) -> Facet:
    brightness = _span([look.exposure.brightness for look in looks])
    warmth = _span([look.exposure.warmth for look in looks])
    return Facet("the light", brightness >= LIGHT_VARIES or warmth >= WARMTH_VARIES, "")


def _framing(looks: Sequence[ImageStats]) -> Facet | None:
    """Only where a mask or a flat ground tells where the thing is, in most of the pictures."""
    known = [look.subject for look in looks if look.subject]
    if len(known) < max(ENOUGH_TO_TELL, MOST * len(looks)):
        return None
    across, down = np.std([subject.middle for subject in known], axis=0)
    small, large = np.quantile([subject.area for subject in known], (0.1, 0.9))
    varies = max(across, down) >= PLACE_VARIES or large >= SIZE_VARIES * max(small, 1e-3)
    return Facet("place and size in the frame", bool(varies), "")


FIXES: Mapping[str, tuple[Rule, str]] = {
    "the light": (SAME_LIGHT, "take some in other light: a window, a lamp, shade"),
    "place and size in the frame": (SAME_FRAMING, "take some nearer, some further, some off the middle"),
}


def colour_name(colour: tuple[int, int, int]) -> str:
    """A plain name."""
    red, green, blue = colour
    low, middle, high = sorted(colour)
    if high - low < 20:
        return next((name for up_to, name in GREYS if high < up_to), "white")
    between = (middle - low) / (high - low)
    if red == high and green == middle and EARTHY[0] < between < EARTHY[1]:
        return "beige" if low > LIGHT else "brown" if high < EARTH else "orange"
    depth = "dark " if high < DARK else "light " if low > LIGHT else ""
    if between > EVENLY_MIXED:
        return depth + {red: "cyan", green: "magenta", blue: "yellow"}[low]
    return depth + {red: "red", green: "green", blue: "blue"}[high]


def _called(words: SubjectWords) -> str:
    """As a person would speak of it: the zubo mug, but plain jxv of a woman."""
    if not words.trigger:
        return f"one {words.class_word}" if words.class_word else "one thing"
    return f"the {words.trigger} {words.class_word}" if words.class_word and words.kind == "product" else words.trigger


def _span(values: Sequence[float]) -> float:
    low, high = np.quantile(values, (0.1, 0.9))
    return float(high - low)


def _of_the_thing(looks: Sequence[ImageStats], samples: Sequence[Sample]) -> list[ImageStats]:
    wanted = {sample.image for sample in subjects(samples)}
    return list({look.image: look for look in looks if look.image in wanted}.values())


def _and(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
