"""Duplicates: the same pixels, near copies, crops of one photo, and held-out images among the trained ones.

Shape letters: R and K images compared with each other, D embedding size, T tiles.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.image_stats.copies import distances, partial_copies, stack_hashes
from flux_lora.data.image_stats.measure import ImageStats
from flux_lora.data.image_stats.turned_copies import (
    TURNED,
    is_mirror_image,
    mirrored_hashes,
    turned_by,
    turned_hashes,
)

SAME_IMAGE = Rule(
    "same-picture", Severity.warning, "The same pixels several times count several times; set repeats to mean that."
)
NEAR_IMAGE = Rule(
    "near-picture",
    Severity.warning,
    "The same image in another size, quality or crop, mirrored, turned, or of one burst: it counts twice.",
)
SAME_PHOTO = Rule(
    "same-photo", Severity.warning, "Crops of one photo are one view, not several: the set is smaller than it looks."
)
HELD_OUT_TWIN = Rule(
    "held-out-twin",
    Severity.error,
    "A held-out image that is also trained on measures memory, not likeness.",
)
NOT_COMPARED = Rule(
    "crops-not-compared",
    Severity.note,
    "Other crops of one photo are found by a small network, which is in the extra 'metrics'.",
)
DUPLICATE_RULES: tuple[Rule, ...] = (SAME_IMAGE, NEAR_IMAGE, SAME_PHOTO, HELD_OUT_TWIN, NOT_COMPARED)

NEAR_BITS = 38
"""Of 255. The same image differs in 0 to 40, another one in 70 and more. See docs/photo_rules.md."""
NEAR_COLOUR = 18.0
"""Levels. The same bottle before another wall has the same shapes and other colours."""
SCENE_COSINE = 0.72
"""Cosine similarity of embeddings from which two images are compared part by part. See docs/photo_rules.md."""
AT_ONCE = 2000
"""Images in a block: two blocks are compared in one matrix product, which bounds its memory."""

Vectors = Mapping[Path, NDArray[np.float32]]
"""Unit-length embeddings (D) by image. See data/image_stats/copies.py."""
Pair = tuple[int, int]
"""Indices of two images."""


def judge_duplicates(
    measured: Sequence[ImageStats], held_out: Sequence[ImageStats] = (), *, vectors: Vectors | None = None
) -> Iterator[Finding]:
    """One finding for each group of duplicates. Without vectors, a note that crops of one photo were not sought."""
    trained, held_out_stats = _one_per_file(measured), _one_per_file(held_out)
    copies = _groups(_same_pixels(trained), len(trained))
    yield from (_finding_of(SAME_IMAGE, trained, group) for group in copies)
    doubles = {index for group in copies for index in group[1:]}
    single = [stats for index, stats in enumerate(trained) if index not in doubles]
    near = set(near_pairs(single))
    yield from (_finding_of(NEAR_IMAGE, single, group) for group in _groups(near, len(single)))
    yield from _judge_held_out(trained, held_out_stats)
    if vectors is None:
        if trained:
            problem = "was not searched for other crops of one photo: the extra 'metrics' is not installed"
            yield NOT_COMPARED.at(trained[0].image.parent, problem, "run: pip install 'flux_lora[metrics]'")
        return
    partial = _partial_pairs(single, vectors) - near
    yield from (_finding_of(SAME_PHOTO, single, group) for group in _groups(partial, len(single)))


def copies_of_one(measured: Sequence[ImageStats], vectors: Vectors | None = None) -> list[list[ImageStats]]:
    """Images of one photo together, in order; most are alone. Without vectors, other crops of one photo are not known.

    Each file is given once.
    """
    pairs = chain(_same_pixels(measured), near_pairs(measured), _partial_pairs(measured, vectors) if vectors else ())
    groups = _groups(pairs, len(measured))
    alone = set(range(len(measured))) - set(chain.from_iterable(groups))
    return [[measured[index] for index in group] for group in sorted([*groups, *([index] for index in alone)])]


def near_pairs(measured: Sequence[ImageStats], others: Sequence[ImageStats] | None = None) -> Iterator[Pair]:
    """Index pairs of near copies; within one list, or of one list against another."""
    compared = measured if others is None else others
    left, right = (
        list(_blocks([index for index, stats in enumerate(listed) if stats.perceptual_hashes]))
        for listed in (measured, compared)
    )
    for rows, columns in product(left, right):
        if others is None and rows[0] > columns[-1]:
            continue  # these two blocks were compared the other way round
        found = _near(rows, columns, measured, compared)
        yield from found if others is not None else ((row, column) for row, column in found if row < column)


def _near(
    rows: list[int], columns: list[int], measured: Sequence[ImageStats], others: Sequence[ImageStats]
) -> Iterator[Pair]:
    """Near copies between two blocks of indices. Either may be the cropped one; turned images are found uncropped only.

    Hashes are (R or K, WINDOWS, BITS / 8), distances (R, K).
    """
    first, second = (
        stack_hashes([measured[row].perceptual_hashes for row in rows]),
        stack_hashes([others[column].perceptual_hashes for column in columns]),
    )
    for row, column in _within(distances(first, second), distances(second, first)):
        stats, other = measured[rows[row]], others[columns[column]]
        if _colours_apart(stats, other) <= NEAR_COLOUR:
            yield rows[row], columns[column]
    mirrored = _within(distances(first, mirrored_hashes(second)), distances(second, mirrored_hashes(first)))
    for row, column in mirrored:
        if is_mirror_image(measured[rows[row]].copy, others[columns[column]].copy):
            yield rows[row], columns[column]
    for quarters in TURNED:
        for row, column in np.argwhere(distances(first, turned_hashes(second, quarters)) <= NEAR_BITS):
            if turned_by(measured[rows[row]].copy, others[columns[column]].copy) == quarters:
                yield rows[row], columns[column]


def _within(one_way: NDArray[np.int64], other_way: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places, row and column, at which either of two tables of distances, RK and KR, is small enough."""
    return np.argwhere(np.minimum(one_way, other_way.T) <= NEAR_BITS)


def _colours_apart(stats: ImageStats, other: ImageStats) -> float:
    """Mean absolute difference in levels of the tiles' colours (T * 3), both scaled to the same brightness."""
    colours, other_colours = (np.frombuffer(one.colours, dtype=np.uint8).astype(np.float32) for one in (stats, other))
    mean = (colours.mean() + other_colours.mean()) / 2
    colours, other_colours = (levels * (mean / max(float(levels.mean()), 1.0)) for levels in (colours, other_colours))
    return float(np.abs(colours - other_colours).mean())


def _same_pixels(measured: Sequence[ImageStats]) -> Iterator[Pair]:
    first: dict[str, int] = {}
    for index, stats in enumerate(measured):
        earlier = first.setdefault(stats.digest, index)
        if earlier != index:
            yield earlier, index


def _partial_pairs(measured: Sequence[ImageStats], vectors: Vectors) -> set[Pair]:
    """Index pairs of which one shows a part of the other. Vectors are stacked to (R, D) and (K, D)."""
    known = [index for index, stats in enumerate(measured) if stats.image in vectors]
    found: set[Pair] = set()
    for rows in _blocks(known):
        row_vectors = np.stack([vectors[measured[row].image] for row in rows])
        for columns in _blocks(known):
            column_vectors = np.stack([vectors[measured[column].image] for column in columns])
            similar = np.argwhere(row_vectors @ column_vectors.T >= SCENE_COSINE)
            found |= {(rows[row], columns[column]) for row, column in similar if rows[row] < columns[column]}
    return partial_copies([stats.copy for stats in measured], found)


def _judge_held_out(measured: Sequence[ImageStats], held_out: Sequence[ImageStats]) -> Iterator[Finding]:
    by_digest: dict[str, list[ImageStats]] = defaultdict(list)
    for stats in measured:
        by_digest[stats.digest].append(stats)
    near: dict[int, list[ImageStats]] = defaultdict(list)
    for index, other in near_pairs(held_out, measured):
        near[index].append(measured[other])
    for index, stats in enumerate(held_out):
        same = by_digest.get(stats.digest, [])
        trained = _one_per_file([*same, *near[index]])
        if trained:
            how = "the same image as" if same else "nearly the same image as"
            problem = f"is held out, but {how} {_named(stats, trained)}, which is trained on"
            others = tuple(other.image for other in trained)
            yield HELD_OUT_TWIN.at(stats.image, problem, "leave one of them out", others)


def _finding_of(rule: Rule, measured: Sequence[ImageStats], group: Sequence[int]) -> Finding:
    first, *rest = (measured[index] for index in group)
    wordings = {
        SAME_IMAGE.id: ("is the same image as", "keep one of them; set repeats if it shall count more"),
        NEAR_IMAGE.id: ("is nearly the same image as", "keep the best of them"),
        SAME_PHOTO.id: ("is another crop of the same photo as", "keep the best of them"),
    }
    relation, fix = wordings[rule.id]
    return rule.at(first.image, f"{relation} {_named(first, rest)}", fix, tuple(stats.image for stats in rest))


def _named(stats: ImageStats, others: Sequence[ImageStats]) -> str:
    """The first two by name, each marked if it is mirrored or turned, and the number of the rest."""
    names = [f"{other.image.name}{_how(stats, other)}" for other in others[:2]]
    return ", ".join(names) + (f" and {len(others) - 2} more" if len(others) > 2 else "")


def _how(stats: ImageStats, other: ImageStats) -> str:
    """What the other is beside a copy, in brackets."""
    if is_mirror_image(stats.copy, other.copy):
        return " (mirrored)"
    quarters = turned_by(other.copy, stats.copy)
    return f" ({TURNED[quarters]})" if quarters else ""


def _groups(pairs: Iterable[Pair], count: int) -> list[list[int]]:
    """Connected components of two and more indices below `count`, in order (union-find)."""
    parent = list(range(count))

    def root_of(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for one, other in pairs:
        first, second = sorted((root_of(one), root_of(other)))
        parent[second] = first
    groups: dict[int, list[int]] = defaultdict(list)
    for index in range(count):
        groups[root_of(index)].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _one_per_file(measured: Sequence[ImageStats]) -> list[ImageStats]:
    """One entry for each file: a file that two sources list is no duplicate."""
    return list({stats.image: stats for stats in measured}.values())


def _blocks(indices: list[int]) -> Iterator[list[int]]:
    return (indices[start : start + AT_ONCE] for start in range(0, len(indices), AT_ONCE))
