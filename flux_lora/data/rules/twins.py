"""The same picture more than once: what is shown twice counts twice, and what is held out must not be trained on."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.looks.look import ImageStats
from flux_lora.data.looks.parts import is_mirror_image, partial_copies
from flux_lora.data.looks.prints import distances, mirrored_hashes, stack_hashes

SAME_PICTURE = Rule(
    "same-picture", Severity.warning, "The same pixels several times count several times; set repeats to mean that."
)
NEAR_PICTURE = Rule(
    "near-picture",
    Severity.warning,
    "The same picture in another size, quality or crop, mirrored, or of one burst: it counts twice, and is memorised.",
)
SAME_PHOTO = Rule(
    "same-photo", Severity.warning, "Crops of one photo are one view, not several: the set is smaller than it looks."
)
HELD_OUT_TWIN = Rule(
    "held-out-twin",
    Severity.error,
    "A held-out picture that is also trained on measures memory, not likeness.",
)
NOT_COMPARED = Rule(
    "crops-not-compared",
    Severity.note,
    "Other crops of one photo are found by a small network, which is in the extra 'metrics'.",
)
RULES: tuple[Rule, ...] = (SAME_PICTURE, NEAR_PICTURE, SAME_PHOTO, HELD_OUT_TWIN, NOT_COMPARED)

NEAR_BITS = 38
"""Of 255. The same picture differs in 0 to 40, another one in 70 and more. See docs/photo_rules.md."""
NEAR_COLOUR = 18.0
"""Levels. The same bottle before another wall has the same shapes and other colours."""
SCENE_COSINE = 0.72
"""What the network finds at least this much alike is compared part by part. See docs/photo_rules.md."""
AT_ONCE = 2000
"""Pictures that are compared with as many others in one product of matrices."""

Vectors = Mapping[Path, NDArray[np.float32]]
"""What the network sees in each picture, of length 1. See data/looks/deep.py."""
Pair = tuple[int, int]


def judge_duplicates(
    looks: Sequence[ImageStats], held_out: Sequence[ImageStats] = (), *, vectors: Vectors | None = None
) -> Iterator[Finding]:
    """One finding for each group. Without vectors, says once what was not looked for."""
    trained, kept = _one_each(looks), _one_each(held_out)
    copies = _groups(_same_pixels(trained), len(trained))
    yield from (_said(SAME_PICTURE, trained, group) for group in copies)
    doubles = {index for group in copies for index in group[1:]}
    single = [look for index, look in enumerate(trained) if index not in doubles]
    near = set(near_pairs(single))
    yield from (_said(NEAR_PICTURE, single, group) for group in _groups(near, len(single)))
    yield from _judge_held_out(trained, kept)
    if vectors is None:
        yield from _say_what_is_missing(trained)
        return
    alike = _parts(single, vectors) - near
    yield from (_said(SAME_PHOTO, single, group) for group in _groups(alike, len(single)))


def near_pairs(looks: Sequence[ImageStats], others: Sequence[ImageStats] | None = None) -> Iterator[Pair]:
    """Pairs of pictures that are nearly the same; within one list, or each of one with each of another."""
    there = looks if others is None else others
    left, right = (
        list(_blocks([at for at, look in enumerate(each) if look.perceptual_hashes])) for each in (looks, there)
    )
    for rows, columns in product(left, right):
        if others is None and rows[0] > columns[-1]:
            continue  # these two blocks were compared the other way round
        found = _near(rows, columns, looks, there)
        yield from found if others is not None else ((row, column) for row, column in found if row < column)


def _near(
    rows: list[int], columns: list[int], looks: Sequence[ImageStats], others: Sequence[ImageStats]
) -> Iterator[Pair]:
    """Either may be the cropped one. Mirror images are found whole only."""
    first, second = (
        stack_hashes([looks[row].perceptual_hashes for row in rows]),
        stack_hashes([others[each].perceptual_hashes for each in columns]),
    )
    bits = np.minimum(distances(first, second), distances(second, first).T)
    for row, column in np.argwhere(bits <= NEAR_BITS):
        look, other = looks[rows[row]], others[columns[column]]
        if _colours_apart(look, other) <= NEAR_COLOUR:
            yield rows[row], columns[column]
    for row, column in np.argwhere(distances(first, mirrored_hashes(second)) <= NEAR_BITS):
        if is_mirror_image(looks[rows[row]].copy, others[columns[column]].copy):
            yield rows[row], columns[column]


def _colours_apart(look: ImageStats, other: ImageStats) -> float:
    """Mean difference of the large tiles, after both are made equally bright."""
    colours, theirs = (np.frombuffer(each.colours, dtype=np.uint8).astype(np.float32) for each in (look, other))
    mean = (colours.mean() + theirs.mean()) / 2
    colours, theirs = (each * (mean / max(float(each.mean()), 1.0)) for each in (colours, theirs))
    return float(np.abs(colours - theirs).mean())


def _same_pixels(looks: Sequence[ImageStats]) -> Iterator[Pair]:
    first: dict[str, int] = {}
    for index, look in enumerate(looks):
        earlier = first.setdefault(look.digest, index)
        if earlier != index:
            yield earlier, index


def _parts(looks: Sequence[ImageStats], vectors: Vectors) -> set[Pair]:
    """Pairs of which one shows a part of the other."""
    known = [index for index, look in enumerate(looks) if look.image in vectors]
    found: set[Pair] = set()
    for rows in _blocks(known):
        mine = np.stack([vectors[looks[row].image] for row in rows])
        for columns in _blocks(known):
            theirs = np.stack([vectors[looks[column].image] for column in columns])
            hits = np.argwhere(mine @ theirs.T >= SCENE_COSINE)
            found |= {(rows[row], columns[column]) for row, column in hits if rows[row] < columns[column]}
    return partial_copies([look.copy for look in looks], found)


def _judge_held_out(looks: Sequence[ImageStats], held_out: Sequence[ImageStats]) -> Iterator[Finding]:
    by_digest: dict[str, list[ImageStats]] = defaultdict(list)
    for look in looks:
        by_digest[look.digest].append(look)
    near: dict[int, list[ImageStats]] = defaultdict(list)
    for index, other in near_pairs(held_out, looks):
        near[index].append(looks[other])
    for index, look in enumerate(held_out):
        same = by_digest.get(look.digest, [])
        twins = _one_each([*same, *near[index]])
        if twins:
            how = "the same picture as" if same else "nearly the same picture as"
            problem = f"is held out, but {how} {_named(look, twins)}, which is trained on"
            yield HELD_OUT_TWIN.at(look.image, problem, "leave one of them out", tuple(twin.image for twin in twins))


def _say_what_is_missing(looks: Sequence[ImageStats]) -> Iterator[Finding]:
    if looks:
        problem = "was not searched for other crops of one photo: the extra 'metrics' is not installed"
        yield NOT_COMPARED.at(looks[0].image.parent, problem, "run: pip install 'flux_lora[metrics]'")


def _said(rule: Rule, looks: Sequence[ImageStats], group: Sequence[int]) -> Finding:
    first, *rest = (looks[index] for index in group)
    seen = {
        SAME_PICTURE.id: ("is the same picture as", "keep one of them; set repeats if it shall count more"),
        NEAR_PICTURE.id: ("is nearly the same picture as", "keep the best of them"),
        SAME_PHOTO.id: ("is another crop of the same photo as", "keep the best of them"),
    }
    says, fix = seen[rule.id]
    return rule.at(first.image, f"{says} {_named(first, rest)}", fix, tuple(look.image for look in rest))


def _named(look: ImageStats, others: Sequence[ImageStats]) -> str:
    """Two of them by name, and of each whether it is the look in a mirror."""
    names = [f"{other.image.name}{' (mirrored)' * is_mirror_image(look.copy, other.copy)}" for other in others[:2]]
    return ", ".join(names) + (f" and {len(others) - 2} more" if len(others) > 2 else "")


def _groups(pairs: Iterable[Pair], count: int) -> list[list[int]]:
    """Everything that hangs together, in order."""
    leader = list(range(count))

    def led_by(index: int) -> int:
        while leader[index] != index:
            leader[index] = index = leader[leader[index]]
        return index

    for one, other in pairs:
        first, second = sorted((led_by(one), led_by(other)))
        leader[second] = first
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(count):
        groups[led_by(index)].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _one_each(looks: Sequence[ImageStats]) -> list[ImageStats]:
    """One file listed twice, with repeats of its own, is no duplicate."""
    return list({look.image: look for look in looks}.values())


def _blocks(indices: list[int]) -> Iterator[list[int]]:
    return (indices[start : start + AT_ONCE] for start in range(0, len(indices), AT_ONCE))
