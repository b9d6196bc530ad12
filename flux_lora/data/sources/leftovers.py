"""What lies in a folder and is no sample: each thing is named, none is touched."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from flux_lora.data.findings import Finding
from flux_lora.data.samples import IMAGE_ENDINGS
from flux_lora.data.sources.captions import named
from flux_lora.data.sources.listing import EntryKind, Listing
from flux_lora.data.sources.placed import file_name
from flux_lora.data.sources.rules import (
    IGNORED_FILE,
    ORPHAN_CAPTION,
    ORPHAN_MASK,
    UNREAD_PICTURE,
    UNREADABLE_FOLDER,
)
from flux_lora.data.sources.shards import SHARD_ENDING
from flux_lora.data.sources.tables import TABLE_ENDINGS

OTHER_PICTURES = frozenset(
    f".{ending}"
    for ending in (
        *("arw", "cr2", "cr3", "dng", "nef", "orf", "raf", "raw", "rw2"),
        *("eps", "exr", "hdr", "jp2", "jxl", "pdf", "psd", "svg", "tga", "xcf"),
        *("m4v", "mkv", "mov", "mp4", "webm"),
    )
)
"""What people keep pictures in and nothing here reads."""
ABOUT_THE_SET = frozenset(("licence", "license", "prompts", "readme"))
"""Files that belong to a set by custom; prompts.txt is asked of the trained adapter."""


def _is_about_the_set(file: Path) -> bool:
    """Whether a file is where it is for people, or for another part of the recipe."""
    return file.stem.casefold() in ABOUT_THE_SET and file.suffix.lower() in ("", ".md", ".txt")


def judge_orphan_captions(captions: Sequence[str], pictures: Iterable[str]) -> Iterator[Finding]:
    """Captions whose picture is not there, with the name that was likely meant."""
    lone = [caption for caption in map(Path, captions) if not _is_about_the_set(caption)]
    if not lone:
        return
    there = list(map(Path, pictures))
    by_name = {(picture.parent, picture.name.casefold()): picture for picture in there}
    by_stem = {(picture.parent, picture.stem.casefold()): picture for picture in there}
    for caption in lone:
        place = (caption.parent, caption.stem.casefold())
        meant = by_name.get(place) or by_stem.get(place)
        fix = "give it the name of its picture, or take it out of the folder"
        if meant:
            fix = f"rename it to {meant.stem}{caption.suffix} if it is the caption of {meant.name}"
        yield ORPHAN_CAPTION.at(caption, "is a caption without a picture of its name", fix)


def judge_orphan_masks(masks: Sequence[str]) -> Iterator[Finding]:
    """Masks that weigh nothing."""
    for mask in map(Path, masks):
        problem = "is a mask, and no one picture without a mask has its name"
        yield ORPHAN_MASK.at(mask, problem, "give it the name of its picture, or take it out of the folder")


def judge_listing(listing: Listing, others: Sequence[str]) -> Iterator[Finding]:
    """Folders that are closed, links that lead nowhere, and files of other kinds, one finding for each ending."""
    for folder in map(Path, listing.get(EntryKind.closed, [])):
        yield UNREADABLE_FOLDER.at(folder, "cannot be listed", "allow it to be read, or take it out")
    for odd in map(Path, listing.get(EntryKind.odd_name, [])):
        problem = f"holds {ascii(odd.name)}, which is not read: its name is not utf-8"
        yield UNREAD_PICTURE.at(odd.parent, problem, "rename it")
    for lost in map(Path, listing.get(EntryKind.lost, [])):
        rule = UNREAD_PICTURE if lost.suffix.lower() in IMAGE_ENDINGS else IGNORED_FILE
        yield rule.at(lost, "is no file: a link that leads nowhere, or a device", "put the file itself there")
    by_ending: dict[str, list[Path]] = defaultdict(list)
    for file in (each for each in map(Path, others) if not _is_about_the_set(each)):
        by_ending[file.suffix.lower()].append(file)
    for ending, files in by_ending.items():
        yield _of_another_kind(ending, files)


def unused_file_notes(listing: Listing, folder: Path) -> Iterator[str]:
    """What was left alone by rule, in one line each."""
    apart = Counter(map(file_name, listing.get(EntryKind.left_alone, [])))
    del apart["held_out"], apart["masks"]
    if apart:
        yield f"{folder}: {named(sorted(apart))} left alone (caches, and what the recipe names elsewhere)"
    below = listing.get(EntryKind.below, [])
    if below:
        yield f"{folder}: folders in it left alone: {named([*map(file_name, below)])}"
    hidden = listing.get(EntryKind.hidden, [])
    if hidden:
        yield f"{folder}: hidden and system files left alone: {named([*map(file_name, hidden)])}"


def _of_another_kind(ending: str, files: list[Path]) -> Finding:
    first, *more = files
    like = f", like {len(more)} more {ending or 'without an ending'}" if more else ""
    if ending in OTHER_PICTURES:
        fix = "save it as PNG or JPEG if it is to be learned from"
        return UNREAD_PICTURE.at(first, f"is of a kind that is not read ({ending}){like}", fix, tuple(more))
    fix = "nothing to do, unless it was meant to be learned from"
    if ending == SHARD_ENDING or ending in TABLE_ENDINGS:
        fix = "name it in data.sources if it is to be learned from"
    return IGNORED_FILE.at(first, f"is no picture, caption or mask, and is left alone{like}", fix, tuple(more))
