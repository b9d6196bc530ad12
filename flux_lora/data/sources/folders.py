"""A folder of pictures -> samples, with every other file in it accounted for."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flux_lora.config.choices import CaptionLines, MaskMode
from flux_lora.config.material import SourceConfig
from flux_lora.data.findings import Finding
from flux_lora.data.samples import IMAGE_ENDINGS, Sample
from flux_lora.data.sources.captions import (
    SIDECAR_ENDINGS,
    CaptionSource,
    judge_caption_sources,
    judge_shared,
    sample_of,
    sidecar_caption,
    table_captions,
)
from flux_lora.data.sources.leftovers import (
    judge_listing,
    judge_orphan_captions,
    judge_orphan_masks,
    unused_file_notes,
)
from flux_lora.data.sources.listing import EntryKind, Listing, list_folder
from flux_lora.data.sources.masks import ImagesAndMasks, pair_masks, separate_masks
from flux_lora.data.sources.placed import SiblingFiles, ending_of, file_name, parent_folder, sibling_files, stem_place
from flux_lora.data.sources.shards import SHARD_ENDING
from flux_lora.data.sources.source import Found, SourceOptions, columns_of
from flux_lora.data.sources.tables import METADATA, read_table
from flux_lora.errors import DataError

KOHYA = re.compile(r"([1-9]\d{0,2})_(\S.*)")
"""10_mug. Not 01_front, which people number shots by, nor 2024_summer."""


@dataclass(frozen=True)
class Files:
    """The files of a folder by what they are for."""

    apart: ImagesAndMasks
    captions: SiblingFiles
    """At the place of their picture, the one that wins first."""
    tables: Sequence[str]
    others: Sequence[str]

    @property
    def pictures(self) -> Sequence[str]:
        """What samples are made of."""
        return self.apart.pictures


def read_folder(source: SourceConfig, wanted: SourceOptions, apart: Collection[Path]) -> Found:
    """The samples of a folder. Folders in `apart` (resolved) belong to somebody else."""
    top = Path(source.path).expanduser()
    listing = list_folder(top, recursive=wanted.recursive, apart=apart)
    files = sort_files(listing.get(EntryKind.file, []))
    if not files.pictures:
        raise _no_pictures(top, listing, files)
    tables, findings, remarks = _read_tables(files, source, wanted)
    lines = wanted.caption_lines
    said = ((each, [*_beside(each, files, lines), *tables.get(each, [])]) for each in files.pictures)
    masks, lone_masks = _masks(files, listing, wanted)
    found = _found(said, masks, source, top)
    pictures = sibling_files(files.pictures)
    lone = sorted(file for file in files.captions.files if not pictures.at(stem_place(file)))
    return Found(
        found.samples,
        (
            *found.findings,
            *findings,
            *judge_shared(pictures),
            *judge_orphan_captions(lone, files.pictures),
            *judge_orphan_masks(lone_masks),
            *judge_listing(listing, files.others),
        ),
        (*found.remarks, *remarks, *unused_file_notes(listing, top)),
    )


def read_named(table: Path, source: SourceConfig, wanted: SourceOptions, apart: Collection[Path]) -> Found:
    """The samples that a table names; its own captions come before those beside the pictures."""
    listing = list_folder(table.parent, recursive=True, apart=apart)
    files = sort_files(listing.get(EntryKind.file, []))
    lines = wanted.caption_lines
    rows, findings = table_captions(table, read_table(table, columns_of(source)), set(files.pictures), lines)
    said = ((picture, [row, *_beside(picture, files, lines)]) for picture, row in rows.items())
    masks, _ = _masks(files, listing, wanted)
    found = _found(said, masks, source, table.parent)
    return Found(found.samples, (*found.findings, *findings), found.remarks)


def sort_files(listed: Sequence[str]) -> Files:
    """Tell pictures, captions, masks and tables apart by their names."""
    images = [file for file in listed if ending_of(file) in IMAGE_ENDINGS]
    captions = sibling_files((file for file in listed if ending_of(file) in SIDECAR_ENDINGS), first=SIDECAR_ENDINGS)
    others = [file for file in listed if ending_of(file) not in (*IMAGE_ENDINGS, *SIDECAR_ENDINGS)]
    tables = [file for file in others if file_name(file).lower() in METADATA]
    return Files(separate_masks(images, captions), captions, tables, [file for file in others if file not in tables])


def repeats_of(folder: Path, top: Path) -> tuple[int, Path | None]:
    """What kohya's folder names say: of the folder, or of the nearest one above it up to the source's own."""
    for each in (folder, *folder.parents):
        match = KOHYA.fullmatch(each.name)
        if match:
            return int(match.group(1)), each
        if each == top:
            break
    return 1, None


def _found(
    said: Iterable[tuple[str, Sequence[CaptionSource]]], masks: Mapping[str, str], source: SourceConfig, top: Path
) -> Found:
    """Picture by picture, so that what files say is not held for all of them at once."""
    folders: dict[str, tuple[int, Path | None]] = {}
    samples: list[Sample] = []
    findings: list[Finding] = []
    for picture, each in said:
        folder = parent_folder(picture)
        if folder not in folders:
            folders[folder] = repeats_of(Path(folder), top)
        repeats, _ = folders[folder]
        samples.append(sample_of(picture, each, source, repeats=repeats, mask=masks.get(picture)))
        findings += judge_caption_sources(picture, each)
    by_name = sorted({folder for _, folder in folders.values() if folder})
    return Found(tuple(samples), tuple(findings), tuple(map(_kohya_remark, by_name)))


def _kohya_remark(folder: Path) -> str:
    number, _, name = folder.name.partition("_")
    return f"{folder.name}: read as {number} repeat{'s' * (number != '1')}, class {name} (kohya's folder name)"


def _beside(picture: str, files: Files, lines: CaptionLines) -> list[CaptionSource]:
    return [sidecar_caption(file, lines) for file in files.captions.at(stem_place(picture))]


def _read_tables(
    files: Files, source: SourceConfig, wanted: SourceOptions
) -> tuple[dict[str, list[CaptionSource]], list[Finding], list[str]]:
    """What the folder's tables say of its pictures, what is wrong with them, and how many pictures they speak of."""
    by_picture: dict[str, list[CaptionSource]] = defaultdict(list)
    findings: list[Finding] = []
    remarks: list[str] = []
    pictures = set(files.pictures) if files.tables else set()
    for table in map(Path, files.tables):
        said, wrong = table_captions(table, read_table(table, columns_of(source)), pictures, wanted.caption_lines)
        for picture, each in said.items():
            by_picture[picture].append(each)
        findings += wrong
        remarks.append(f"{table}: captions of {sum(bool(each.captions) for each in said.values())} pictures")
    return by_picture, findings, remarks


def _masks(files: Files, listing: Listing, wanted: SourceOptions) -> tuple[dict[str, str], list[str]]:
    """The mask of each picture that has one beside it or in a folder `masks`, and masks without a picture."""
    if wanted.masks is MaskMode.off:
        return {}, []
    beside = files.apart.masks
    masks = {picture: beside[stem_place(picture)] for picture in files.pictures if stem_place(picture) in beside}
    lone = list(files.apart.orphans)
    folders = [Path(path) for path in listing.get(EntryKind.left_alone, []) if file_name(path) == "masks"]
    for folder in [] if wanted.mask_folder else folders:
        listed = list_folder(folder, recursive=True).get(EntryKind.file, [])
        below = [picture for picture in files.pictures if folder.parent in Path(picture).parents]
        images = [file for file in listed if ending_of(file) in IMAGE_ENDINGS]
        for mask, pictures in pair_masks(images, folder, below, (folder.parent,)):
            free = [picture for picture in pictures if picture not in masks]
            masks.update(dict.fromkeys(free, mask))
            lone += [] if free else [mask]
    return masks, lone


def _no_pictures(top: Path, listing: Listing, files: Files) -> DataError:
    shards = [Path(file) for file in files.others if ending_of(file) == SHARD_ENDING]
    if shards:
        said = f"{top} holds no images, but {len(shards)} {SHARD_ENDING}"
        return DataError(said, fix=f"name the shards themselves: '{shards[0].parent}/*{SHARD_ENDING}', in quotes")
    if str(top) in listing.get(EntryKind.closed, []):
        return DataError(f"{top} cannot be listed", fix="allow it to be read, or set another folder")
    if EntryKind.below in listing:
        return DataError(f"{top} holds no images, only folders", fix="set data.recursive=true, or name one of them")
    return DataError(
        f"{top} holds no images ({', '.join(sorted(IMAGE_ENDINGS))})",
        fix="put 10 to 30 images in it, each with a caption in a .txt of the same name",
    )
