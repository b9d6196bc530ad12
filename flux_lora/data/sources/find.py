"""Every sample of every source."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from flux_lora.config.choices import MaskMode
from flux_lora.config.material import SourceConfig
from flux_lora.data.findings import Finding
from flux_lora.data.samples import IMAGE_ENDINGS, Sample
from flux_lora.data.sources.captions import judge_encodings
from flux_lora.data.sources.folders import read_folder, read_named
from flux_lora.data.sources.hub import is_dataset, read_dataset
from flux_lora.data.sources.leftovers import judge_orphan_masks
from flux_lora.data.sources.listing import EntryKind, list_folder
from flux_lora.data.sources.masks import pair_masks
from flux_lora.data.sources.packed import samples_of_rows
from flux_lora.data.sources.placed import ending_of
from flux_lora.data.sources.places import expand_pattern
from flux_lora.data.sources.remembered import unpack
from flux_lora.data.sources.shards import SHARD_ENDING, read_shard
from flux_lora.data.sources.source import Found, SourceOptions, columns_of
from flux_lora.data.sources.tables import TABLE_ENDINGS, holds_pictures, read_table
from flux_lora.data.sources.unpacked import unpack_row
from flux_lora.errors import DataError

UNPACKED_BY = {".gz": "gunzip", ".tgz": "gunzip", ".bz2": "bunzip2", ".xz": "unxz", ".zst": "unzstd"}
"""Compressed shards are not read: pictures gain nothing by it, and a small one can be made to fill a disk."""


def find(sources: Sequence[SourceConfig], wanted: SourceOptions) -> Found:
    """What they hold, in their order; within a folder sorted by name. A source without a picture is refused."""
    places = [replace(source, path=path) for source in sources for path in expand_pattern(source.path)]
    tops = [Path(place.path).expanduser() for place in places]
    mask_folders = [wanted.mask_folder] if wanted.mask_folder else []
    apart = {folder.expanduser().resolve() for folder in (*tops, *mask_folders, *wanted.apart)}
    parts = [_read(place, wanted, apart) for place in places]
    samples = list(chain.from_iterable(part.samples for part in parts))
    findings = list(chain.from_iterable(part.findings for part in parts))
    remarks = list(chain.from_iterable(part.remarks for part in parts))
    if wanted.mask_folder and wanted.masks is MaskMode.auto:
        samples, lone = _with_masks(samples, wanted.mask_folder.expanduser(), tops)
        findings += lone
    masked = sum(sample.mask is not None for sample in samples)
    if masked:
        remarks.append(f"{masked} of {len(samples)} images have masks; masked loss on")
    return Found(tuple(samples), (*findings, *judge_encodings(samples)), tuple(remarks))


def _read(source: SourceConfig, wanted: SourceOptions, apart: Collection[Path]) -> Found:
    found = _read_kind(source, wanted, apart)
    if not found.samples:
        reasons = [finding.problem for finding in found.findings if finding.fatal]
        raise DataError(
            f"{source.path} holds no picture that can be read" + "".join(f": {reason}" for reason in reasons[:1]),
            fix="set the source to a folder, table, shard or dataset that holds pictures",
        )
    return found


def _read_kind(source: SourceConfig, wanted: SourceOptions, apart: Collection[Path]) -> Found:
    """One place, by what it is."""
    if is_dataset(source.path):
        rows = read_dataset(source.path, columns_of(source))
        return samples_of_rows((unpack_row(row, wanted.unpacked) for row in rows), Path(source.path), source, wanted)
    place = Path(source.path).expanduser()
    if place.is_dir():
        return read_folder(source, wanted, apart)
    ending = place.suffix.lower()
    if not place.is_file():
        missing = "not there" if ending in (SHARD_ENDING, *TABLE_ENDINGS) else "not a folder"
        raise DataError(
            f"{place} is {missing}",
            fix="set data.folder to the folder that holds your images; a dataset of the hub is hub:<owner>/<name>",
        )
    if ending == SHARD_ENDING:
        return samples_of_rows(unpack(place, read_shard, columns_of(source), wanted.unpacked), place, source, wanted)
    if ending not in TABLE_ENDINGS:
        known = ", ".join((*TABLE_ENDINGS, SHARD_ENDING))
        packed = f"unpack it first: {UNPACKED_BY[ending]} {place}" if ending in UNPACKED_BY else ""
        fix = packed or "set the source to one of these"
        raise DataError(f"{place} is no folder, and no table or shard ({known})", fix=fix)
    if holds_pictures(place, columns_of(source)):
        return samples_of_rows(unpack(place, read_table, columns_of(source), wanted.unpacked), place, source, wanted)
    return read_named(place, source, wanted, apart)


def _with_masks(
    samples: Sequence[Sample], folder: Path, tops: Sequence[Path]
) -> tuple[list[Sample], Iterator[Finding]]:
    """Samples with the masks of the mask folder, where they have none beside them, and masks that are left over."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", fix="set data.mask_folder to the folder that holds the masks")
    listed = list_folder(folder, recursive=True).get(EntryKind.file, [])
    images = [file for file in listed if ending_of(file) in IMAGE_ENDINGS]
    without = [str(sample.image) for sample in samples if not sample.mask]
    masks: dict[str, Path] = {}
    lone: list[str] = []
    for mask, pictures in pair_masks(images, folder, without, tops):
        masks.update(dict.fromkeys(pictures, Path(mask)))
        lone += [] if pictures else [mask]
    given = [replace(sample, mask=sample.mask or masks.get(str(sample.image))) for sample in samples]
    return given, judge_orphan_masks(lone)
