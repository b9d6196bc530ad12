"""The set as a whole: number of images, and whether background, light and framing vary. What never varies is learned.

Shape letters: N images, S segments of the rim.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flux_lora.config.choices import Severity
from flux_lora.data.checks.subject_words import SubjectWords, common_folder, subjects
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.image_stats.measure import ImageStats
from flux_lora.data.samples import Sample

FEW_IMAGES = Rule("few-pictures", Severity.warning, "From few images only those few views are learned.")
MANY_IMAGES = Rule(
    "many-pictures", Severity.note, "More images than one thing needs: each is seen rarely, and poor ones hide."
)
SHARED_GROUND = Rule(
    "shared-ground", Severity.warning, "A background that most images share is learned as part of the thing."
)
SAME_LIGHT = Rule("same-light", Severity.note, "Light that never changes is learned as part of the thing.")
SAME_FRAMING = Rule(
    "same-framing", Severity.note, "A thing always in one place and size is later drawn in that place and size."
)
WITHOUT_COLOUR = Rule(
    "without-colour",
    Severity.warning,
    "A few black and white images among colour teach that either will do: some of the results come out grey.",
)
DATASET_RULES: tuple[Rule, ...] = (
    FEW_IMAGES,
    MANY_IMAGES,
    SHARED_GROUND,
    SAME_LIGHT,
    SAME_FRAMING,
    WITHOUT_COLOUR,
)

MOST = 0.6
"""Share of the images that counts as most of them."""
ENOUGH_TO_TELL = 6
"""Images. With fewer, only their number is judged."""
ONE_COLOUR = 24
"""Levels. Flat grounds that differ by less are one ground in another light."""
ONE_PLACE = 12
"""Levels, mean over the segments of the rim. Scenes that differ by less are one place."""
LIGHT_VARIES, WARMTH_VARIES = 0.08, 0.04
"""Levels, 0 to 1, between the 10th and the 90th percentile of the images."""
PLACE_VARIES, SIZE_VARIES = 0.05, 1.3
"""Standard deviation of the subject's middle, as a share of the frame; and ratio of the 90th to the 10th percentile of
its area."""

GREYS = ((40, "black"), (100, "dark grey"), (190, "grey"), (235, "light grey"))
"""Upper levels of greys, and their names."""
DARK, LIGHT, EARTH = 110, 150, 190
EARTHY, EVENLY_MIXED = (0.3, 0.72), 0.6
"""Where the middle channel lies between the lowest and the highest."""


@dataclass(frozen=True)
class Amount:
    """How many images a kind of recipe is made for."""

    fewest: int
    most: int
    why: str


AMOUNTS: Mapping[str, Amount] = {
    "product": Amount(10, 80, "15 to 30, from every side that shall be drawn"),
    "character": Amount(10, 80, "15 to 30, near and far"),
    "style": Amount(15, 500, "20 to 60, of different things"),
    "edit": Amount(10, 5000, "20 to 60 pairs, of different things"),
}
OF_MANY_THINGS = ("style", "edit")
"""Kinds whose images show different things, and need no other grounds and lights of one."""
ANY = Amount(5, 500, "15 to 30")


@dataclass(frozen=True)
class Facet:
    """A property of the images that may vary, and whether it does."""

    name: str
    """As in "the light"."""
    varies: bool
    detail: str
    """As in "11 different"; empty where there is nothing to add."""


def judge_dataset(measured: Sequence[ImageStats], samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Findings on the folder. Regularisation images are left out: they ought to vary."""
    subject_stats = _of_subjects(measured, samples)
    folder = common_folder(samples)
    yield from _judge_amount(len(subject_stats), words.kind, folder)
    yield from _judge_colour(subject_stats)
    if len(subject_stats) < ENOUGH_TO_TELL or words.kind in OF_MANY_THINGS:
        return
    yield from _judge_ground(subject_stats, folder)
    for facet in facets(subject_stats):
        if facet.varies or facet.name not in FIXES:
            continue
        rule, fix = FIXES[facet.name]
        yield rule.at(folder, f"shows {facet.name} the same in nearly all {len(subject_stats)} images", fix)


def _judge_colour(measured: Sequence[ImageStats]) -> Iterator[Finding]:
    grey = [stats.image for stats in measured if not stats.exposure.coloured]
    if 0 < len(grey) < MOST * len(measured) and len(grey) < len(measured):
        problem = f"is black and white, and {len(measured) - len(grey)} of the {len(measured)} images are in colour"
        yield from (
            WITHOUT_COLOUR.at(image, problem, "use it in colour, say so in its caption, or leave it out")
            for image in grey
        )


def dataset_summary(measured: Sequence[ImageStats], samples: Sequence[Sample], words: SubjectWords) -> str:
    """A paragraph for the user: what varies between the images, and what is learned with the subject."""
    subject_stats = _of_subjects(measured, samples)
    amount = AMOUNTS.get(words.kind, ANY)
    what = "pair" if words.kind == "edit" else "image"
    count = f"is 1 {what}" if len(subject_stats) == 1 else f"are {len(subject_stats)} {what}s"
    sentences = [f"There {count}." if words.kind == "edit" else f"There {count} of {_subject_name(words)}."]
    if len(subject_stats) < amount.fewest:
        sentences.append(f"That is few (take {amount.why}): expect it only as these show it.")
    if len(subject_stats) < ENOUGH_TO_TELL or words.kind in OF_MANY_THINGS:
        return " ".join(sentences)
    found = facets(subject_stats)
    free = [f"{facet.name} ({facet.detail})" if facet.detail else facet.name for facet in found if facet.varies]
    fixed = [f"{facet.name} ({facet.detail})" if facet.detail else facet.name for facet in found if not facet.varies]
    if free:
        sentences.append(f"What changes between them is left to your prompts: {_joined(free)}.")
    if fixed:
        sentences.append(f"What stays the same is learned as part of it and comes along unasked: {_joined(fixed)}.")
    else:
        sentences.append("Nothing was found that stays the same by accident.")
    return " ".join(sentences)


def facets(measured: Sequence[ImageStats]) -> tuple[Facet, ...]:
    """Background, light and framing; one that cannot be measured on these images is left out."""
    return tuple(facet for facet in (_background(measured), _light(measured), _framing(measured)) if facet)


def _judge_amount(count: int, kind: str, folder: Path) -> Iterator[Finding]:
    amount = AMOUNTS.get(kind, ANY)
    if count < amount.fewest:
        images = f"only {count} image{'s' * (count != 1)}"
        yield FEW_IMAGES.at(folder, f"holds {images} to learn from", f"take more: {amount.why}")
    elif count > amount.most:
        fix = f"choose the best: {amount.why}, are enough"
        yield MANY_IMAGES.at(folder, f"holds {count} images, more than this recipe needs", fix)


def _judge_ground(measured: Sequence[ImageStats], folder: Path) -> Iterator[Finding]:
    unmasked = [stats for stats in measured if not stats.masked]
    group = max(_backgrounds(unmasked), key=len, default=[])
    if len(group) < max(ENOUGH_TO_TELL - 1, MOST * len(measured)):
        return
    what = f"one flat background ({colour_name(group[0].ground.colour)})" if group[0].ground.flat else "one background"
    yield SHARED_GROUND.at(
        folder,
        f"has {len(group)} of {len(measured)} images that share {what}",
        "take some before other grounds, or give masks (name.mask.png), or set data.alpha=varied for cut-outs",
        tuple(stats.image for stats in group),
    )


def _backgrounds(measured: Sequence[ImageStats]) -> list[list[ImageStats]]:
    """Images grouped by background: flat ones by colour, scenes by the colours of the rim."""
    groups: list[list[ImageStats]] = []
    for stats in measured:
        group = next((group for group in groups if _one_background(group[0], stats)), None)
        if group is None:
            groups.append([stats])
        else:
            group.append(stats)
    return groups


def _one_background(stats: ImageStats, other: ImageStats) -> bool:
    """Compares colours (3) of flat grounds, and rim colours (S, 3) of scenes."""
    if stats.ground.flat != other.ground.flat:
        return False
    if stats.ground.flat:
        return bool(np.abs(np.subtract(stats.ground.colour, other.ground.colour)).max() <= ONE_COLOUR)
    return bool(np.abs(np.subtract(stats.ground.segments, other.ground.segments)).mean() <= ONE_PLACE)


def _background(measured: Sequence[ImageStats]) -> Facet | None:
    """Of images without a mask: under a mask, the background is not learned."""
    unmasked = [stats for stats in measured if not stats.masked]
    if not unmasked:
        return None
    groups = _backgrounds(unmasked)
    largest = max(groups, key=len)
    varies = len(largest) < MOST * len(measured)
    flat = f"flat {colour_name(largest[0].ground.colour)}" if largest[0].ground.flat else "one place"
    return Facet("the background", varies, f"{len(groups)} different" if varies else flat)


def _light(measured: Sequence[ImageStats]) -> Facet:
    brightness = _span([stats.exposure.brightness for stats in measured])
    warmth = _span([stats.exposure.warmth for stats in measured])
    return Facet("the light", brightness >= LIGHT_VARIES or warmth >= WARMTH_VARIES, "")


def _framing(measured: Sequence[ImageStats]) -> Facet | None:
    """None unless masks or flat grounds locate the subject in most of the images. Middles are (N, 2), areas N."""
    known = [stats.subject for stats in measured if stats.subject]
    if len(known) < max(ENOUGH_TO_TELL, MOST * len(measured)):
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
    """An English name for an RGB colour, levels 0 to 255."""
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


def _subject_name(words: SubjectWords) -> str:
    """What to call the subject in a sentence: "the zubo mug" for a product, "jxv" for a person."""
    if not words.trigger:
        return f"one {words.class_word}" if words.class_word else "one thing"
    return f"the {words.trigger} {words.class_word}" if words.class_word and words.kind == "product" else words.trigger


def _span(values: Sequence[float]) -> float:
    """From the 10th to the 90th percentile."""
    low, high = np.quantile(values, (0.1, 0.9))
    return float(high - low)


def _of_subjects(measured: Sequence[ImageStats], samples: Sequence[Sample]) -> list[ImageStats]:
    """Statistics of the subject's images, one for each file."""
    images = {sample.image for sample in subjects(samples)}
    return list({stats.image: stats for stats in measured if stats.image in images}.values())


def _joined(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
