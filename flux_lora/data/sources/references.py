"""What each image is made from: pairs of before and after, by the same name. A reference is never a sample."""

from collections.abc import Sequence
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
    findings = []
    for folder in folders:
        if not folder.is_dir():
            raise DataError(
                f"{folder} is not a folder", fix="set data.reference_folders to the folders of what was before"
            )
        listed = list_folder(folder, recursive=True).get(EntryKind.file, [])
        files = [file for file in listed if ending_of(file) in IMAGE_ENDINGS]
        for file, images in pair_by_stem(files, folder, without, roots, owner=stem_place):
            for image in images:
                found[image].append(Path(file))
            if not images:
                fix = "give it the name of the image that was made of it, or take it out"
                findings.append(UNUSED_REFERENCE.at(Path(file), "is what no image was made from, by its name", fix))
    for image, references in found.items():
        if folders and len(references) != len(folders):
            problem = f"has {len(references)} of {len(folders)} references of its name"
            fix = f"put what it was made from into {folders[-1]}, under the name {Path(image).stem}"
            findings.append(REFERENCE_MISSING.at(Path(image), problem, fix))
    paired = [replace(each, references=each.references or tuple(found[str(each.image)])) for each in samples]
    return paired, findings
