"""What each image is made from: pairs of before and after, by the same name. A reference is never a sample."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from flux_lora.data.findings import Finding
from flux_lora.data.samples import IMAGE_ENDINGS, Sample
from flux_lora.data.sources.listing import EntryKind, ending_of, list_folder, pair_by_stem, stem_place
from flux_lora.data.sources.source import REFERENCE_MISSING, UNUSED_REFERENCE
from flux_lora.errors import DataError

BEFORE, AFTER = "before", "after"
"""Folders of a folder of pairs, in any case."""


def pair_folders(folder: Path) -> tuple[Path, Path] | None:
    """The folders of what was before and of what it became, where a folder holds both."""
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    named = {each.name.casefold(): each for each in inside if each.is_dir()}
    return (named[BEFORE], named[AFTER]) if BEFORE in named and AFTER in named else None


def with_references(
    samples: Sequence[Sample], folders: Sequence[Path], roots: Sequence[Path]
) -> tuple[list[Sample], list[Finding]]:
    """Samples with the images of their names in each of the folders, in order, and findings on what has no pair.

    Raises DataError for a folder that is not there. A sample that has references from a table keeps them.
    """
    without = [str(sample.image) for sample in samples if not sample.references]
    found: dict[str, list[Path]] = {image: [] for image in without}
    findings: list[Finding] = []
    for folder in folders:
        if not folder.is_dir():
            raise DataError(
                f"{folder} is not a folder", fix="set data.reference_folders to the folders of what was before"
            )
        for image, file in _pairs(folder, without, roots, findings):
            found[image].append(file)
    for image, references in found.items():
        if references and len(references) < len(folders):
            problem = f"has {len(references)} of {len(folders)} references of its name"
            fix = f"put one into each of {', '.join(map(str, folders))}, under the name {Path(image).stem}"
            findings.append(REFERENCE_MISSING.at(Path(image), problem, fix))
    paired = [replace(each, references=each.references or tuple(found[str(each.image)])) for each in samples]
    return paired, findings


def _pairs(
    folder: Path, images: Sequence[str], roots: Sequence[Path], findings: list[Finding]
) -> Iterator[tuple[str, Path]]:
    """An image and its reference in one folder. A file of which two images claim to be made is none's, and neither is a
    second one of a name."""
    listed = list_folder(folder, recursive=True).get(EntryKind.file, [])
    files = [file for file in listed if ending_of(file) in IMAGE_ENDINGS]
    taken: set[str] = set()
    for file, claiming in pair_by_stem(files, folder, images, roots, owner=stem_place):
        several = len({stem_place(image) for image in claiming}) > 1
        new = [] if several else [image for image in claiming if image not in taken]
        taken.update(new)
        yield from ((image, Path(file)) for image in new)
        if not new:
            problem = "is what several images were made from, by its name" if several else "was made into no image"
            fix = "give each pair a name of its own, or take it out"
            findings.append(UNUSED_REFERENCE.at(Path(file), problem, fix))
