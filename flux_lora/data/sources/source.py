"""Options and result of reading a source, and the rules about its files."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from flux_lora.config.choices import CaptionLines, MaskMode, Severity
from flux_lora.config.data import SourceConfig
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.samples import Sample

UNDECODABLE_CAPTION = Rule(
    "undecodable-caption",
    Severity.error,
    "A caption file is no text in utf-8, utf-16 or cp1252; the image would be trained without its words.",
)
CAPTION_ENCODING = Rule(
    "caption-encoding",
    Severity.note,
    "A caption is not plain utf-8. It was told apart and read; other programs may read it differently.",
)
TWO_CAPTIONS = Rule(
    "two-captions",
    Severity.warning,
    "Two places say different things of one image; only one of them is trained on.",
)
SHARED_CAPTION = Rule(
    "shared-caption",
    Severity.warning,
    "Two images differ only in their endings, so one caption file speaks for both.",
)
ORPHAN_CAPTION = Rule(
    "orphan-caption",
    Severity.warning,
    "A caption file has no image of its name; a misspelt name leaves some image without words.",
)
ORPHAN_MASK = Rule(
    "orphan-mask",
    Severity.warning,
    "A mask belongs to no image, or to more than one; the image meant is trained without it.",
)
REFERENCE_MISSING = Rule(
    "reference-missing",
    Severity.error,
    "An image of an edit lacks what it was made from; it would be drawn from nothing, and the edit not learned.",
)
UNUSED_REFERENCE = Rule(
    "unused-reference",
    Severity.warning,
    "An image among what was before has no image that was made of it; a misspelt name leaves a pair out.",
)
UNREAD_IMAGE = Rule(
    "unread-picture",
    Severity.warning,
    "A file looks like an image and is not trained on: its kind is not read, or it cannot be reached.",
)
IGNORED_FILE = Rule(
    "ignored-file",
    Severity.note,
    "A file is neither image nor caption nor mask, and is left alone.",
)
UNREADABLE_FOLDER = Rule(
    "unreadable-folder",
    Severity.error,
    "A folder cannot be listed; its images would be missing.",
)
UNREADABLE_ROW = Rule(
    "unreadable-row",
    Severity.error,
    "A row of a table, or a sample of a shard, cannot be read; its image would lose its caption or be missing.",
)
ROW_WITHOUT_IMAGE = Rule(
    "row-without-picture",
    Severity.error,
    "A row of a table names an image that is not among those read.",
)

SOURCE_RULES: tuple[Rule, ...] = (
    UNDECODABLE_CAPTION,
    CAPTION_ENCODING,
    TWO_CAPTIONS,
    SHARED_CAPTION,
    ORPHAN_CAPTION,
    ORPHAN_MASK,
    REFERENCE_MISSING,
    UNUSED_REFERENCE,
    UNREAD_IMAGE,
    IGNORED_FILE,
    UNREADABLE_FOLDER,
    UNREADABLE_ROW,
    ROW_WITHOUT_IMAGE,
)


IMAGE_COLUMN, CAPTION_COLUMN = "image", "text"
FILE_COLUMN = "file_name"
"""The column of image paths in Hugging Face's imagefolder."""
REFERENCE_COLUMNS = ("reference", "references", "control", "control_path")
"""What an image was made from: a file name, or a list of them."""
CAPTION_COLUMNS = (CAPTION_COLUMN, "caption", "captions")
"""Of a table for which nobody named any."""


@dataclass(frozen=True)
class Columns:
    """Names of the image and caption columns of a table or dataset."""

    image: str = IMAGE_COLUMN
    caption: str = CAPTION_COLUMN

    @property
    def captions(self) -> tuple[str, ...]:
        """Where captions are looked for, in order: in one that was named nowhere else."""
        return CAPTION_COLUMNS if self.caption == CAPTION_COLUMN else (self.caption,)

    @property
    def images(self) -> tuple[str, ...]:
        """The same for images: one that was named goes before the usual column of file names."""
        both = (FILE_COLUMN, self.image)
        return both if self.image == IMAGE_COLUMN else both[::-1]


def columns_of(source: SourceConfig) -> Columns:
    """The column names of a source."""
    return Columns(source.image_column, source.caption_column)


def images_folder() -> Path:
    """Default folder for images unpacked from shards and datasets, under XDG_CACHE_HOME."""
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "flux_lora" / "pictures"


@dataclass(frozen=True)
class SourceOptions:
    """How sources are read."""

    recursive: bool = True
    caption_lines: CaptionLines = CaptionLines.joined
    masks: MaskMode = MaskMode.auto
    mask_folder: Path | None = None
    """Folder of masks named as their images; without it, folders named `masks` among the images."""
    pairs: bool = False
    """Whether what images were made from is looked for."""
    reference_folders: tuple[Path, ...] = ()
    """Folders with it, each image under the name of what it became; else a table names it."""
    apart: tuple[Path, ...] = ()
    """Folders to skip wherever they lie, such as the held-out images. A source itself is always read."""
    unpacked: Path = field(default_factory=images_folder)
    """Folder for images unpacked from shards and datasets, named by their content; never beside the user's files."""


@dataclass(frozen=True)
class Found:
    """Samples of the sources, and findings on their files."""

    samples: tuple[Sample, ...] = ()
    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()
    """Lines for the user on how the sources were read."""
