"""A folder of images -> samples, with every other file in it accounted for."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flux_lora.config.choices import CaptionLines, MaskMode
from flux_lora.config.data import SourceConfig
from flux_lora.data.findings import Finding
from flux_lora.data.samples import IMAGE_ENDINGS, Sample
from flux_lora.data.sources.captions import (
    SIDECAR_ENDINGS,
    CaptionSource,
    judge_caption_sources,
    judge_shared,
    named,
    sample_of,
    sidecar_caption,
    table_captions,
)
from flux_lora.data.sources.listing import (
    EntryKind,
    Listing,
    SiblingFiles,
    ending_of,
    file_name,
    list_folder,
    parent_folder,
    sibling_files,
    stem_place,
)
from flux_lora.data.sources.masks import ImagesAndMasks, pair_masks, separate_masks
from flux_lora.data.sources.rows import METADATA, TABLE_ENDINGS, read_table
from flux_lora.data.sources.shards import SHARD_ENDING
from flux_lora.data.sources.source import (
    IGNORED_FILE,
    ORPHAN_CAPTION,
    ORPHAN_MASK,
    UNREAD_IMAGE,
    UNREADABLE_FOLDER,
    Found,
    SourceOptions,
    columns_of,
)
from flux_lora.errors import DataError

OTHER_IMAGES = frozenset(
    f".{ending}"
    for ending in (
        *("arw", "cr2", "cr3", "dng", "nef", "orf", "raf", "raw", "rw2"),
        *("eps", "exr", "hdr", "jp2", "jxl", "pdf", "psd", "svg", "tga", "xcf"),
        *("m4v", "mkv", "mov", "mp4", "webm"),
    )
)
"""Image and video formats that are not read: a finding names them."""
ABOUT_THE_SET = frozenset(("licence", "license", "prompts", "readme"))
"""Stems of files that are no captions: documents of the set, and the prompts to render with the adapter."""


def _is_about_the_set(file: Path) -> bool:
    """Whether a file is a document of the set or its prompts."""
    return file.stem.casefold() in ABOUT_THE_SET and file.suffix.lower() in ("", ".md", ".txt")


def judge_orphan_captions(captions: Sequence[str], images: Iterable[str]) -> Iterator[Finding]:
    """Captions without an image of their stem, with the image that was likely meant."""
    orphans = [caption for caption in map(Path, captions) if not _is_about_the_set(caption)]
    if not orphans:
        return
    image_files = list(map(Path, images))
    by_name = {(image.parent, image.name.casefold()): image for image in image_files}
    by_stem = {(image.parent, image.stem.casefold()): image for image in image_files}
    for caption in orphans:
        place = (caption.parent, caption.stem.casefold())
        meant = by_name.get(place) or by_stem.get(place)
        fix = "give it the name of its image, or take it out of the folder"
        if meant:
            fix = f"rename it to {meant.stem}{caption.suffix} if it is the caption of {meant.name}"
        yield ORPHAN_CAPTION.at(caption, "is a caption without an image of its name", fix)


def judge_orphan_masks(masks: Sequence[str]) -> Iterator[Finding]:
    """Masks without an image."""
    for mask in map(Path, masks):
        problem = "is a mask, and no one image without a mask has its name"
        yield ORPHAN_MASK.at(mask, problem, "give it the name of its image, or take it out of the folder")


def judge_listing(listing: Listing, others: Sequence[str]) -> Iterator[Finding]:
    """Folders that are closed, links that lead nowhere, and files of other kinds, one finding for each ending."""
    for folder in map(Path, listing.get(EntryKind.closed, [])):
        yield UNREADABLE_FOLDER.at(folder, "cannot be listed", "allow it to be read, or take it out")
    for odd in map(Path, listing.get(EntryKind.odd_name, [])):
        problem = f"holds {ascii(odd.name)}, which is not read: its name is not utf-8"
        yield UNREAD_IMAGE.at(odd.parent, problem, "rename it")
    for lost in map(Path, listing.get(EntryKind.lost, [])):
        rule = UNREAD_IMAGE if lost.suffix.lower() in IMAGE_ENDINGS else IGNORED_FILE
        yield rule.at(lost, "is no file: a link that leads nowhere, or a device", "put the file itself there")
    by_ending: dict[str, list[Path]] = defaultdict(list)
    for file in map(Path, others):
        if not _is_about_the_set(file):
            by_ending[file.suffix.lower()].append(file)
    for ending, files in by_ending.items():
        yield _other_kind(ending, files)


def unused_file_notes(listing: Listing, folder: Path) -> Iterator[str]:
    """One line for each kind of skipped entry: caches, sub-folders, hidden files."""
    names = map(file_name, listing.get(EntryKind.left_alone, []))
    left_alone = Counter(name for name in names if name.casefold() not in ("held_out", "masks"))
    if left_alone:
        yield f"{folder}: {named(sorted(left_alone))} left alone (caches, and what the recipe names elsewhere)"
    below = listing.get(EntryKind.below, [])
    if below:
        yield f"{folder}: folders in it left alone: {named([*map(file_name, below)])}"
    hidden = listing.get(EntryKind.hidden, [])
    if hidden:
        yield f"{folder}: hidden and system files left alone: {named([*map(file_name, hidden)])}"


def _other_kind(ending: str, files: list[Path]) -> Finding:
    first, *more = files
    like = f", like {len(more)} more {ending or 'without an ending'}" if more else ""
    if ending in OTHER_IMAGES:
        fix = "save it as PNG or JPEG if it is to be learned from"
        return UNREAD_IMAGE.at(first, f"is of a kind that is not read ({ending}){like}", fix, tuple(more))
    fix = "nothing to do, unless it was meant to be learned from"
    if ending == SHARD_ENDING or ending in TABLE_ENDINGS:
        fix = "name it in data.sources if it is to be learned from"
    return IGNORED_FILE.at(first, f"is no image, caption or mask, and is left alone{like}", fix, tuple(more))


KOHYA = re.compile(r"([1-9]\d{0,2})_(\S.*)")
"""<repeats>_<class>, as in 10_mug. Not 01_front, a numbered shot, nor 2024_summer."""
MOST_FOLDERS = 5
"""Folders that are named one by one."""


@dataclass(frozen=True)
class Files:
    """The files of a folder by what they are for."""

    images_and_masks: ImagesAndMasks
    captions: SiblingFiles
    """By the stem of their image; the one that is used comes first."""
    tables: Sequence[str]
    others: Sequence[str]

    @property
    def images(self) -> Sequence[str]:
        """The image files that are not masks."""
        return self.images_and_masks.images


def read_folder(source: SourceConfig, options: SourceOptions, apart: Collection[Path]) -> Found:
    """The samples of a folder. Folders in `apart` (resolved) are other sources, masks or held-out images."""
    top = Path(source.path).expanduser()
    listing = list_folder(top, recursive=options.recursive, apart=apart)
    files = sort_files(listing.get(EntryKind.file, []))
    if not files.images:
        raise _no_images(top, listing, files)
    tables, findings, remarks = _read_tables(files, source, options)
    lines = options.caption_lines
    origins = ((image, [*_sidecars(image, files, lines), *tables.get(image, [])]) for image in files.images)
    masks, orphan_masks = _masks(files, listing, options)
    found = _found(origins, masks, source, top)
    images = sibling_files(files.images)
    orphan_captions = sorted(file for file in files.captions.files if not images.at(stem_place(file)))
    return Found(
        found.samples,
        (
            *found.findings,
            *findings,
            *judge_shared(images),
            *judge_orphan_captions(orphan_captions, files.images),
            *judge_orphan_masks(orphan_masks),
            *judge_listing(listing, files.others),
        ),
        (*found.remarks, *remarks, *unused_file_notes(listing, top)),
    )


def read_named(table: Path, source: SourceConfig, options: SourceOptions, apart: Collection[Path]) -> Found:
    """The samples that a table names; its captions come before those of sidecar files."""
    listing = list_folder(table.parent, recursive=True, apart=apart)
    files = sort_files(listing.get(EntryKind.file, []))
    lines = options.caption_lines
    rows, findings = table_captions(table, read_table(table, columns_of(source)), set(files.images), lines)
    origins = ((image, [row, *_sidecars(image, files, lines)]) for image, row in rows.items())
    masks, _ = _masks(files, listing, options)
    found = _found(origins, masks, source, table.parent)
    return Found(found.samples, (*found.findings, *findings), found.remarks)


def sort_files(listed: Sequence[str]) -> Files:
    """Sort files by name into images, masks, captions, tables and others."""
    images = [file for file in listed if ending_of(file) in IMAGE_ENDINGS]
    captions = sibling_files((file for file in listed if ending_of(file) in SIDECAR_ENDINGS), first=SIDECAR_ENDINGS)
    others = [file for file in listed if ending_of(file) not in (*IMAGE_ENDINGS, *SIDECAR_ENDINGS)]
    tables = [file for file in others if file_name(file).lower() in METADATA]
    return Files(separate_masks(images, captions), captions, tables, [file for file in others if file not in tables])


def repeats_of(folder: Path, top: Path) -> tuple[int, Path | None]:
    """Repeats from kohya's folder names, <repeats>_<class>, and the folder named so: the folder itself, or the nearest
    one above it up to the source's own. (1, None) without one."""
    for parent in (folder, *folder.parents):
        match = KOHYA.fullmatch(parent.name)
        if match:
            return int(match.group(1)), parent
        if parent == top:
            break
    return 1, None


def _found(
    origins_by_image: Iterable[tuple[str, Sequence[CaptionSource]]],
    masks: Mapping[str, str],
    source: SourceConfig,
    top: Path,
) -> Found:
    """Samples one image at a time: caption files are read lazily and never all held in memory."""
    folders: dict[str, tuple[int, Path | None]] = {}
    samples: list[Sample] = []
    findings: list[Finding] = []
    for image, origins in origins_by_image:
        folder = parent_folder(image)
        if folder not in folders:
            folders[folder] = repeats_of(Path(folder), top)
        repeats, _ = folders[folder]
        samples.append(sample_of(image, origins, source, repeats=repeats, mask=masks.get(image)))
        findings += judge_caption_sources(image, origins)
    by_name = sorted({folder for _, folder in folders.values() if folder})
    remarks = (*_below(samples, top), *map(_kohya_remark, by_name))
    return Found(tuple(samples), tuple(findings), remarks)


def _below(samples: Sequence[Sample], top: Path) -> Iterator[str]:
    """In which folders below images lie, and how many; nothing where none does."""
    below = Counter(sample.image.parent.relative_to(top) for sample in samples if sample.image.parent != top)
    if below:
        named = ", ".join(f"{folder} ({count})" for folder, count in sorted(below.items())[:MOST_FOLDERS])
        more = f" and {len(below) - MOST_FOLDERS} more" * (len(below) > MOST_FOLDERS)
        yield f"{top.name}: the folders below it were read too: {named}{more}"


def _kohya_remark(folder: Path) -> str:
    number, _, name = folder.name.partition("_")
    return f"{folder.name}: read as {number} repeat{'s' * (number != '1')}, class {name} (kohya's folder name)"


def _sidecars(image: str, files: Files, lines: CaptionLines) -> list[CaptionSource]:
    return [sidecar_caption(file, lines) for file in files.captions.at(stem_place(image))]


def _read_tables(
    files: Files, source: SourceConfig, options: SourceOptions
) -> tuple[dict[str, list[CaptionSource]], list[Finding], list[str]]:
    """Captions of the folder's tables by image, findings on their rows, and a remark on each table."""
    by_image: dict[str, list[CaptionSource]] = defaultdict(list)
    findings: list[Finding] = []
    remarks: list[str] = []
    images = set(files.images) if files.tables else set()
    for table in map(Path, files.tables):
        rows = read_table(table, columns_of(source))
        read, table_findings = table_captions(table, rows, images, options.caption_lines)
        for image, origin in read.items():
            by_image[image].append(origin)
        findings += table_findings
        remarks.append(f"{table}: captions of {sum(bool(origin.captions) for origin in read.values())} images")
    return by_image, findings, remarks


def _masks(files: Files, listing: Listing, options: SourceOptions) -> tuple[dict[str, str], list[str]]:
    """Masks by image, from sidecar masks and folders named `masks`; and masks without an image."""
    if options.masks is MaskMode.off:
        return {}, []
    siblings = files.images_and_masks.masks
    masks = {image: siblings[stem_place(image)] for image in files.images if stem_place(image) in siblings}
    orphans = list(files.images_and_masks.orphans)
    folders = [Path(path) for path in listing.get(EntryKind.left_alone, []) if file_name(path).casefold() == "masks"]
    for folder in [] if options.mask_folder else folders:
        listed = list_folder(folder, recursive=True).get(EntryKind.file, [])
        inside = [image for image in files.images if folder.parent in Path(image).parents]
        mask_files = [file for file in listed if ending_of(file) in IMAGE_ENDINGS]
        for mask, images in pair_masks(mask_files, folder, inside, (folder.parent,)):
            free = [image for image in images if image not in masks]
            masks.update(dict.fromkeys(free, mask))
            orphans += [] if free else [mask]
    return masks, orphans


def _no_images(top: Path, listing: Listing, files: Files) -> DataError:
    shards = [Path(file) for file in files.others if ending_of(file) == SHARD_ENDING]
    if shards:
        problem = f"{top} holds no images, but {len(shards)} {SHARD_ENDING}"
        return DataError(problem, fix=f"name the shards themselves: '{shards[0].parent}/*{SHARD_ENDING}', in quotes")
    if str(top) in listing.get(EntryKind.closed, []):
        return DataError(f"{top} cannot be listed", fix="allow it to be read, or set another folder")
    if EntryKind.below in listing:
        return DataError(f"{top} holds no images, only folders", fix="set data.recursive=true, or name one of them")
    return DataError(
        f"{top} holds no images ({', '.join(sorted(IMAGE_ENDINGS))})",
        fix="put 10 to 30 images in it, each with a caption in a .txt of the same name",
    )
