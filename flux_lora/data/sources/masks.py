"""Which files are masks, and of which images. A mask is never a sample."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flux_lora.data.sources.listing import SiblingFiles, StemPlace, parent_folder, sibling_files, stem_place

MASK_MARKS = (".mask", "_mask", "-masklabel")
"""Ends of a mask's stem: mug.mask.png, mug_mask.png, mug-masklabel.png (OneTrainer)."""


@dataclass(frozen=True)
class ImagesAndMasks:
    """The image files of a folder, sorted into images and masks."""

    images: Sequence[str]
    masks: Mapping[StemPlace, str]
    """Masks by the stem of their image."""
    orphans: Sequence[str]
    """Masks without an image, and second masks of one."""


def separate_masks(files: Sequence[str], captions: SiblingFiles) -> ImagesAndMasks:
    """Separate masks from images by name.

    venetian_mask.png with a caption, and without a venetian.png beside it, is an image of a mask.
    """
    siblings = sibling_files(files)
    images: list[str] = []
    orphans: list[str] = []
    masks: dict[StemPlace, str] = {}
    for file in files:
        place = stem_place(file)
        owner, mark = _split_mark(place)
        owners = siblings.at(owner) if mark else []
        owned = bool(owners)
        owner = stem_place(owners[0]) if owners else owner  # as its own name spells it: an accent may be two letters
        if not mark or (not owned and mark == "_mask" and captions.at(place)):
            images.append(file)
        elif owned and owner not in masks:
            masks[owner] = file
        else:
            orphans.append(file)
    return ImagesAndMasks(images, masks, orphans)


def pair_masks(
    masks: Sequence[str], folder: Path, images: Sequence[str], roots: Sequence[Path]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each mask of a mask folder, with its images: those at the same relative path below one of `roots`, or else those
    of the only stem with its name. Where images in two folders have that name, neither is taken."""
    by_place: dict[StemPlace, list[str]] = defaultdict(list)
    by_name: dict[str, set[StemPlace]] = defaultdict(set)
    for image in images:
        by_place[stem_place(image)].append(image)
        by_name[Path(image).stem].add(stem_place(image))
    for mask in masks:
        relative, _ = _split_mark(stem_place(str(Path(mask).relative_to(folder))))
        exact = [image for root in roots for image in by_place.get(str(root / relative), [])]
        places = by_name.get(relative, set())
        anywhere = by_place[next(iter(places))] if not parent_folder(relative) and len(places) == 1 else []
        yield mask, tuple(exact or anywhere)


def _split_mark(place: StemPlace) -> tuple[StemPlace, str]:
    """A stem without its mark, and the mark in lower case; empty without one."""
    mark = next((mark for mark in MASK_MARKS if place.lower().endswith(mark)), "")
    return place[: len(place) - len(mark)], mark
