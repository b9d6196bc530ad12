"""Which files are masks, and of which images. A mask is never a sample."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flux_lora.data.sources.listing import SiblingFiles, StemPlace, pair_by_stem, sibling_files, stem_place

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
    """Each mask of a mask folder, with its images."""
    return pair_by_stem(masks, folder, images, roots, owner=lambda file: _split_mark(stem_place(file))[0])


def _split_mark(place: StemPlace) -> tuple[StemPlace, str]:
    """A stem without its mark, and the mark in lower case; empty without one."""
    mark = next((mark for mark in MASK_MARKS if place.lower().endswith(mark)), "")
    return place[: len(place) - len(mark)], mark
