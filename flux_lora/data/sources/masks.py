"""Which files are masks, and of which pictures. A mask is never a sample."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MASK_MARKS = (".mask", "_mask", "-masklabel")
"""mug.mask.png, mug_mask.png, mug-masklabel.png: what the tools of the field write."""

Place = tuple[Path, str]
"""A folder, and a file's name in it without the ending."""


@dataclass(frozen=True)
class ToldApart:
    """Pictures told from the masks that lie beside them."""

    pictures: tuple[Path, ...]
    masks: Mapping[Place, Path]
    """The mask of the pictures of a place."""
    orphans: tuple[Path, ...]
    """Masks of no picture."""


def place_of(file: Path) -> Place:
    """Where a file is and what it is called; a caption has the place of its picture."""
    return file.parent, file.stem


def tell_masks(images: Sequence[Path], captioned: Collection[Place]) -> ToldApart:
    """Tell masks from pictures by their names.

    venetian_mask.png may well show a mask: with a caption, and no venetian.png beside it, it is a picture.
    """
    places = {place_of(image) for image in images}
    pictures: list[Path] = []
    orphans: list[Path] = []
    masks: dict[Place, Path] = {}
    for image in images:
        mark = next((mark for mark in MASK_MARKS if image.stem.lower().endswith(mark)), "")
        owner = (image.parent, image.stem[: -len(mark)])
        if not mark or (owner not in places and mark == "_mask" and place_of(image) in captioned):
            pictures.append(image)
        elif owner in places and owner not in masks:
            masks[owner] = image
        else:
            orphans.append(image)
    return ToldApart(tuple(pictures), masks, tuple(orphans))


def pair_masks(
    masks: Sequence[Path], folder: Path, pictures: Sequence[Path], tops: Sequence[Path]
) -> Iterator[tuple[Path, tuple[Path, ...]]]:
    """Each mask of a mask folder with its pictures, one by one: those at the same place below one of `tops`,
    or else the only place that has the name. Two pictures of one name in two folders are two pictures."""
    by_place: dict[Place, list[Path]] = defaultdict(list)
    by_name: dict[str, set[Place]] = defaultdict(set)
    for picture in pictures:
        by_place[place_of(picture)].append(picture)
        by_name[picture.stem].add(place_of(picture))
    for mask in masks:
        stem = _without_mark(mask.stem)
        exact = [picture for top in tops for picture in by_place.get((top / mask.parent.relative_to(folder), stem), [])]
        places = by_name.get(stem, set())
        anywhere = by_place[next(iter(places))] if mask.parent == folder and len(places) == 1 else []
        yield mask, tuple(exact or anywhere)


def _without_mark(stem: str) -> str:
    mark = next((mark for mark in MASK_MARKS if stem.lower().endswith(mark)), "")
    return stem[: len(stem) - len(mark)]
