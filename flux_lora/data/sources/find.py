"""Every sample of every source of a recipe; a path with braces or globs stands for several sources."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from glob import has_magic
from itertools import chain
from pathlib import Path

from flux_lora.config.choices import MaskMode
from flux_lora.config.data import SourceConfig
from flux_lora.data.findings import Finding
from flux_lora.data.samples import IMAGE_ENDINGS, Sample
from flux_lora.data.sources.captions import judge_encodings
from flux_lora.data.sources.folders import judge_orphan_masks, read_folder, read_named
from flux_lora.data.sources.hub import PREFIX, is_dataset, read_hub_dataset
from flux_lora.data.sources.listing import EntryKind, ending_of, is_left_alone, list_folder
from flux_lora.data.sources.masks import pair_masks
from flux_lora.data.sources.references import with_references
from flux_lora.data.sources.rows import TABLE_ENDINGS, holds_images, read_table
from flux_lora.data.sources.shards import SHARD_ENDING, read_shard
from flux_lora.data.sources.source import Found, SourceOptions, columns_of
from flux_lora.data.sources.unpack import samples_of_rows, unpack_file, unpack_row
from flux_lora.errors import DataError

BRACES = re.compile(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}")
MOST_PLACES = 100_000


def expand_pattern(path: str) -> list[str]:
    """The paths that a pattern stands for, in order. A path that exists is taken as it is, whatever signs are in it.

    Raises DataError where a pattern matches no file.
    """
    if path.startswith(PREFIX) or Path(path).expanduser().exists():
        return [path]
    patterns = list(_braces(path))
    matched = [_globbed(pattern) if has_magic(pattern) else [pattern] for pattern in patterns]
    unmatched = next((pattern for pattern, matches in zip(patterns, matched, strict=True) if not matches), "")
    if unmatched:
        raise DataError(f"{unmatched} matches no file", fix="correct the pattern; in a shell, put quotes around it")
    return list(chain.from_iterable(matched))


def _globbed(pattern: str) -> list[str]:
    path = Path(pattern).expanduser()
    found = sorted(Path(path.anchor).glob(str(path.relative_to(path.anchor))))
    meant = not has_magic(path.name) or path.name.startswith(".")
    return [str(each) for each in found if meant or not (each.is_dir() and is_left_alone(each.name))]


def _braces(path: str) -> Iterator[str]:
    """Brace expansion as in a shell: 000{0..3}.tar, with leading zeros kept, and {front,back}."""
    match = BRACES.search(path)
    if not match:
        yield path
        return
    first, last, choices = match.groups()
    words = choices.split(",") if choices else _numbers(first, last, path=path)
    for word in words:
        yield from _braces(path[: match.start()] + word + path[match.end() :])


def _numbers(first: str, last: str, *, path: str) -> Sequence[str]:
    if int(last) < int(first):
        raise DataError(f"{path} counts from {first} down to {last}", fix="put the smaller number first")
    if int(last) - int(first) >= MOST_PLACES:
        raise DataError(f"{path} stands for over {MOST_PLACES:,} files", fix="name fewer in one source")
    return [f"{number:0{len(first)}}" for number in range(int(first), int(last) + 1)]


UNPACKED_BY = {".gz": "gunzip", ".tgz": "gunzip", ".bz2": "bunzip2", ".xz": "unxz", ".zst": "unzstd"}
"""Compressed shards are not read: images do not compress further, and a small archive can be made to fill a disk."""


def find(sources: Sequence[SourceConfig], options: SourceOptions) -> Found:
    """The samples of all sources, in order; within a folder sorted by name.

    Raises DataError for a source without an image.
    """
    expanded = [replace(source, path=path) for source in sources for path in expand_pattern(source.path)]
    roots = [Path(source.path).expanduser() for source in expanded]
    mask_folders = [options.mask_folder] if options.mask_folder else []
    beside = (*roots, *mask_folders, *options.reference_folders, *options.apart)
    apart = {folder.expanduser().resolve() for folder in beside}
    found = [_read_source(source, options, apart) for source in expanded]
    samples = list(chain.from_iterable(one.samples for one in found))
    findings = list(chain.from_iterable(one.findings for one in found))
    remarks = list(chain.from_iterable(one.remarks for one in found))
    if options.mask_folder and options.masks is MaskMode.auto:
        samples, orphans = _with_masks(samples, options.mask_folder.expanduser(), roots)
        findings += orphans
    if options.reference_folders:
        samples, unpaired = with_references(samples, [each.expanduser() for each in options.reference_folders], roots)
        findings += unpaired
    made_from = {file for sample in samples for file in sample.references}
    if made_from and not options.pairs:
        remarks.append("a table says what images were made from, which is not read: recipe=edit trains on pairs")
        samples, made_from = [replace(sample, references=()) for sample in samples], set()
    samples = [sample for sample in samples if sample.references or sample.image not in made_from]
    masked = sum(sample.mask is not None for sample in samples)
    if masked:
        remarks.append(f"{masked} of {len(samples)} images have masks; masked loss on")
    if made_from:
        remarks.append(f"{len(samples)} pairs: what each image was before is shown to the model, and never learned")
    return Found(tuple(samples), (*findings, *judge_encodings(samples)), tuple(remarks))


def _read_source(source: SourceConfig, options: SourceOptions, apart: Collection[Path]) -> Found:
    found = _read_by_kind(source, options, apart)
    if not found.samples:
        reasons = [finding.problem for finding in found.findings if finding.fatal]
        raise DataError(
            f"{source.path} holds no image that can be read" + "".join(f": {reason}" for reason in reasons[:1]),
            fix="set the source to a folder, table, shard or dataset that holds images",
        )
    return found


def _read_by_kind(source: SourceConfig, options: SourceOptions, apart: Collection[Path]) -> Found:
    """Read one source by its kind: dataset, folder, shard or table."""
    if is_dataset(source.path):
        rows = read_hub_dataset(source.path, columns_of(source))
        return samples_of_rows((unpack_row(row, options.unpacked) for row in rows), Path(source.path), source, options)
    place = Path(source.path).expanduser()
    if place.is_dir():
        return read_folder(source, options, apart)
    ending = place.suffix.lower()
    if not place.is_file():
        missing = "not there" if ending in (SHARD_ENDING, *TABLE_ENDINGS) else "not a folder"
        raise DataError(
            f"{place} is {missing}",
            fix="set data.folder to the folder that holds your images; a dataset of the hub is hub:<owner>/<name>",
        )
    if ending == SHARD_ENDING:
        return samples_of_rows(
            unpack_file(place, read_shard, columns_of(source), options.unpacked), place, source, options
        )
    if ending not in TABLE_ENDINGS:
        known = ", ".join((*TABLE_ENDINGS, SHARD_ENDING))
        packed = f"unpack it first: {UNPACKED_BY[ending]} {place}" if ending in UNPACKED_BY else ""
        fix = packed or "set the source to one of these"
        raise DataError(f"{place} is no folder, and no table or shard ({known})", fix=fix)
    if holds_images(place, columns_of(source)):
        return samples_of_rows(
            unpack_file(place, read_table, columns_of(source), options.unpacked), place, source, options
        )
    return read_named(place, source, options, apart)


def _with_masks(
    samples: Sequence[Sample], folder: Path, roots: Sequence[Path]
) -> tuple[list[Sample], Iterator[Finding]]:
    """Samples, with masks of the mask folder where they have none yet; and findings on masks without an image."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", fix="set data.mask_folder to the folder that holds the masks")
    files = list_folder(folder, recursive=True).get(EntryKind.file, [])
    mask_files = [file for file in files if ending_of(file) in IMAGE_ENDINGS]
    unmasked = [str(sample.image) for sample in samples if not sample.mask]
    masks: dict[str, Path] = {}
    orphans: list[str] = []
    for mask, images in pair_masks(mask_files, folder, unmasked, roots):
        masks.update(dict.fromkeys(images, Path(mask)))
        orphans += [] if images else [mask]
    masked = [replace(sample, mask=sample.mask or masks.get(str(sample.image))) for sample in samples]
    return masked, judge_orphan_masks(orphans)
