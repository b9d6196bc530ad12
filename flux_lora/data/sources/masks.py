"""Which files are masks, and of which pictures. A mask is never a sample."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flux_lora.data.sources.placed import SiblingFiles, StemPlace, parent_folder, sibling_files, stem_place

MASK_MARKS = (".mask", "_mask", "-masklabel")
"""mug.mask.png, mug_mask.png, mug-masklabel.png: what the tools of the field write."""


@dataclass(frozen=True)
class ImagesAndMasks:
    """Pictures told from the masks that lie beside them."""

    pictures: Sequence[str]
    masks: Mapping[StemPlace, str]
    """The mask of the pictures of a place."""
    orphans: Sequence[str]
    """Masks of no picture."""


def separate_masks(images: Sequence[str], captions: SiblingFiles) -> ImagesAndMasks:
    """Tell masks from pictures by their names.

    venetian_mask.png may well show a mask: with a caption, and no venetian.png beside it, it is a picture.
    """
    among = sibling_files(images)
    pictures: list[str] = []
    orphans: list[str] = []
    masks: dict[StemPlace, str] = {}
    for image in images:
        place = stem_place(image)
        mark = next((mark for mark in MASK_MARKS if place.lower().endswith(mark)), "")
        owner = place[: -len(mark)]
        owned = bool(mark) and bool(among.at(owner))
        if not mark or (not owned and mark == "_mask" and captions.at(place)):
            pictures.append(image)
        elif owned and owner not in masks:
            masks[owner] = image
        else:
            orphans.append(image)
    return ImagesAndMasks(pictures, masks, orphans)


def pair_masks(
    masks: Sequence[str], folder: Path, pictures: Sequence[str], tops: Sequence[Path]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each mask of a mask folder with its pictures, one by one: those at the same place below one of `tops`,
    or else the only place that has the name. Two pictures of one name in two folders are two pictures."""
    by_place: dict[StemPlace, list[str]] = defaultdict(list)
    by_name: dict[str, set[StemPlace]] = defaultdict(set)
    for picture in pictures:
        by_place[stem_place(picture)].append(picture)
        by_name[Path(picture).stem].add(stem_place(picture))
    for mask in masks:
        within = _without_mark(stem_place(str(Path(mask).relative_to(folder))))
        exact = [picture for top in tops for picture in by_place.get(str(top / within), [])]
        places = by_name.get(within, set())
        anywhere = by_place[next(iter(places))] if not parent_folder(within) and len(places) == 1 else []
        yield mask, tuple(exact or anywhere)


def _without_mark(place: str) -> str:
    mark = next((mark for mark in MASK_MARKS if place.lower().endswith(mark)), "")
    return place[: len(place) - len(mark)]
