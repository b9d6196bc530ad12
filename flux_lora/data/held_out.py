"""Which photos are kept from training where the person names none: what a run is judged by has to be new to it.

Copies of one photo (the same pixels, another size, mirrored, turned, another crop) stay on one side: a copy of a
trained photo measures memory. Which are taken follows from their pixels alone, so another name, order or machine takes
the same, and one photo more changes one at most.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from flux_lora.config.choices import SourceRole
from flux_lora.data.checks.duplicates import Vectors, copies_of_one
from flux_lora.data.image_stats.measure import ImageStats
from flux_lora.data.scan import ScannedImage

FEWEST = 2
"""Held-out photos that judging takes: likeness is measured between them, too."""
ONE_OF = 4
"""Of so many photos one is held out at most."""


def choose_held_out(scanned: Sequence[ScannedImage], wanted: int, vectors: Vectors | None = None) -> frozenset[Path]:
    """`wanted` images of the subject, or fewer where there are few; none where they would be fewer than FEWEST.

    Photos without a copy come first. `vectors`: as in checks/duplicates.py; without, other crops are not known.
    """
    measured = list({one.sample.image: one.stats for one in scanned if one.stats}.values())
    subject = {one.sample.image for one in scanned if one.sample.role is SourceRole.subject}
    made_from = {one.sample.image: one.sample.references for one in scanned}
    copies = _together(copies_of_one(measured, vectors), made_from)
    groups = [group for group in copies if subject.issuperset(one.image for one in group)]
    chosen = list(_taken(sorted(groups, key=_place), min(wanted, len(subject) // ONE_OF)))
    return frozenset(chosen) if len(chosen) >= FEWEST else frozenset()


def _together(
    groups: Sequence[Sequence[ImageStats]], made_from: Mapping[Path, Sequence[Path]]
) -> list[Sequence[ImageStats]]:
    """The groups, those in one whose images were made from one file: several edits of a photo are no unseen ones."""
    joined: list[tuple[set[Path], list[ImageStats]]] = []
    for group in groups:
        files, members = {file for one in group for file in made_from[one.image]}, list(group)
        apart = []
        for known, others in joined:
            if known & files:
                files, members = files | known, [*others, *members]
            else:
                apart.append((known, others))
        joined = [*apart, (files, members)]
    return [members for _, members in joined]


def _place(group: Sequence[ImageStats]) -> tuple[int, str]:
    """Small groups first, and among those by lot: the digest of a digest."""
    return len(group), min(sha256(one.digest.encode()).hexdigest() for one in group)


def _taken(groups: Sequence[Sequence[ImageStats]], room: int) -> Iterator[Path]:
    for group in groups:
        if len(group) <= room:
            room -= len(group)
            yield from (one.image for one in group)


def held_out_in_words(chosen: frozenset[Path], count: int) -> str:
    """Which of `count` images are not trained on, and how to have it otherwise."""
    if not chosen:
        return (
            f"no image of {count} is held out to judge by: a quarter at most is, {FEWEST} at least, and none whose "
            "copy is trained on; put some that are not trained on into a folder held_out"
        )
    names = ", ".join(sorted(file.name for file in chosen))
    return (
        f"{len(chosen)} of {count} images are held out to judge by, and not trained on: {names} "
        "(data.held_out_images=0 trains on all; a folder held_out takes their place)"
    )
