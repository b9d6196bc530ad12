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
    Said,
    judge_said,
    judge_shared,
    said_beside,
    said_in_rows,
    sample_of,
)
from flux_lora.data.sources.leftovers import (
    judge_listing,
    judge_orphan_captions,
    judge_orphan_masks,
    remarks_on,
)
from flux_lora.data.sources.listing import Listing, Seen, list_folder
from flux_lora.data.sources.masks import Place, ToldApart, pair_masks, place_of, tell_masks
from flux_lora.data.sources.source import Found, Wanted, columns_of
from flux_lora.data.sources.tables import METADATA, read_table
from flux_lora.errors import DataError

KOHYA = re.compile(r"([1-9]\d{0,2})_(\S.*)")
"""10_mug. Not 01_front, which people number shots by, nor 2024_summer."""


@dataclass(frozen=True)
class Files:
    """The files of a folder by what they are for."""

    apart: ToldApart
    captions: Mapping[Place, list[Path]]
    """By the place of their picture, the one that wins first."""
    tables: tuple[Path, ...]
    others: tuple[Path, ...]

    @property
    def pictures(self) -> tuple[Path, ...]:
        """What samples are made of."""
        return self.apart.pictures


def read_folder(source: SourceConfig, wanted: Wanted, apart: Collection[Path]) -> Found:
    """The samples of a folder. Folders in `apart` (resolved) belong to somebody else."""
    top = Path(source.path).expanduser()
    listing = list_folder(top, recursive=wanted.recursive, apart=apart)
    files = sort_files(listing.get(Seen.file, []))
    if not files.pictures:
        raise _no_pictures(top, listing)
    tables, findings, remarks = _read_tables(files, source, wanted)
    lines = wanted.caption_lines
    said = ((each, [*_beside(each, files, lines), *tables.get(each, [])]) for each in files.pictures)
    masks, lone_masks = _masks(files, listing, wanted)
    found = _found(said, masks, source, top)
    places = {place_of(picture) for picture in files.pictures}
    lone = [file for place, each in files.captions.items() if place not in places for file in each]
    return Found(
        found.samples,
        (
            *found.findings,
            *findings,
            *judge_shared(files.pictures),
            *judge_orphan_captions(lone, files.pictures),
            *judge_orphan_masks(lone_masks),
            *judge_listing(listing, files.others),
        ),
        (*found.remarks, *remarks, *remarks_on(listing, top)),
    )


def read_named(table: Path, source: SourceConfig, wanted: Wanted, apart: Collection[Path]) -> Found:
    """The samples that a table names; its own captions come before those beside the pictures."""
    listing = list_folder(table.parent, recursive=True, apart=apart)
    files = sort_files(listing.get(Seen.file, []))
    lines = wanted.caption_lines
    rows, findings = said_in_rows(table, read_table(table, columns_of(source)), set(files.pictures), lines)
    said = ((picture, [row, *_beside(picture, files, lines)]) for picture, row in rows.items())
    masks, _ = _masks(files, listing, wanted)
    found = _found(said, masks, source, table.parent)
    return Found(found.samples, (*found.findings, *findings), found.remarks)


def sort_files(listed: Sequence[Path]) -> Files:
    """Tell pictures, captions, masks and tables apart by their names."""
    images, captions, tables, others = [], defaultdict(list), [], []
    for file in listed:
        ending = file.suffix.lower()
        if ending in IMAGE_ENDINGS:
            images.append(file)
        elif ending in SIDECAR_ENDINGS:
            captions[place_of(file)].append(file)
        elif file.name.lower() in METADATA:
            tables.append(file)
        else:
            others.append(file)
    for beside in captions.values():
        beside.sort(key=lambda file: SIDECAR_ENDINGS.index(file.suffix.lower()))
    return Files(tell_masks(images, captions), captions, tuple(tables), tuple(others))


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
    said: Iterable[tuple[Path, Sequence[Said]]], masks: Mapping[Path, Path], source: SourceConfig, top: Path
) -> Found:
    """Picture by picture, so that what files say is not held for all of them at once."""
    folders: dict[Path, tuple[int, Path | None]] = {}
    samples: list[Sample] = []
    findings: list[Finding] = []
    for picture, each in said:
        repeats, _ = folders.setdefault(picture.parent, repeats_of(picture.parent, top))
        samples.append(sample_of(picture, each, source, repeats=repeats, mask=masks.get(picture)))
        findings += judge_said(picture, each)
    by_name = sorted({folder for _, folder in folders.values() if folder})
    return Found(tuple(samples), tuple(findings), tuple(map(_kohya_remark, by_name)))


def _kohya_remark(folder: Path) -> str:
    number, _, name = folder.name.partition("_")
    return f"{folder.name}: read as {number} repeat{'s' * (number != '1')}, class {name} (kohya's folder name)"


def _beside(picture: Path, files: Files, lines: CaptionLines) -> list[Said]:
    return [said_beside(file, lines) for file in files.captions.get(place_of(picture), [])]


def _read_tables(
    files: Files, source: SourceConfig, wanted: Wanted
) -> tuple[dict[Path, list[Said]], list[Finding], list[str]]:
    """What the folder's tables say of its pictures, what is wrong with them, and how many pictures they speak of."""
    by_picture: dict[Path, list[Said]] = defaultdict(list)
    findings: list[Finding] = []
    remarks: list[str] = []
    pictures = set(files.pictures)
    for table in files.tables:
        said, wrong = said_in_rows(table, read_table(table, columns_of(source)), pictures, wanted.caption_lines)
        for picture, each in said.items():
            by_picture[picture].append(each)
        findings += wrong
        remarks.append(f"{table}: captions of {sum(bool(each.captions) for each in said.values())} pictures")
    return by_picture, findings, remarks


def _masks(files: Files, listing: Listing, wanted: Wanted) -> tuple[dict[Path, Path], list[Path]]:
    """The mask of each picture that has one beside it or in a folder `masks`, and masks without a picture."""
    masks = {picture: files.apart.masks.get(place_of(picture)) for picture in files.pictures}
    lone = list(files.apart.orphans)
    folders = [path for path in listing.get(Seen.left_alone, []) if path.name == "masks"]
    for folder in [] if wanted.mask_folder else folders:
        listed = list_folder(folder, recursive=True).get(Seen.file, [])
        below = [picture for picture in files.pictures if folder.parent in picture.parents]
        images = [file for file in listed if file.suffix.lower() in IMAGE_ENDINGS]
        for mask, pictures in pair_masks(images, folder, below, (folder.parent,)):
            free = [picture for picture in pictures if not masks[picture]]
            masks.update(dict.fromkeys(free, mask))
            lone += [] if free else [mask]
    if wanted.masks is MaskMode.off:
        return {}, []
    return {picture: mask for picture, mask in masks.items() if mask}, lone


def _no_pictures(top: Path, listing: Listing) -> DataError:
    if top in listing.get(Seen.closed, []):
        return DataError(f"{top} cannot be listed", fix="allow it to be read, or set another folder")
    if Seen.below in listing:
        return DataError(f"{top} holds no images, only folders", fix="set data.recursive=true, or name one of them")
    return DataError(
        f"{top} holds no images ({', '.join(sorted(IMAGE_ENDINGS))})",
        fix="put 10 to 30 images in it, each with a caption in a .txt of the same name",
    )
