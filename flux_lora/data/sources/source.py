"""What is asked of the sources, and what they answer."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from flux_lora.config.choices import CaptionLines, MaskMode
from flux_lora.config.material import SourceConfig
from flux_lora.data.findings import Finding
from flux_lora.data.samples import Sample


@dataclass(frozen=True)
class Columns:
    """Where a table or a dataset keeps what."""

    image: str = "image"
    caption: str = "text"


def columns_of(source: SourceConfig) -> Columns:
    """Where its tables keep what."""
    return Columns(source.image_column, source.caption_column)


def pictures_folder() -> Path:
    """Where pictures out of shards and datasets are put, unless another place is asked for."""
    caches = os.environ.get("XDG_CACHE_HOME")
    return (Path(caches) if caches else Path.home() / ".cache") / "flux_lora" / "pictures"


@dataclass(frozen=True)
class SourceOptions:
    """How sources are read."""

    recursive: bool = True
    caption_lines: CaptionLines = CaptionLines.joined
    masks: MaskMode = MaskMode.auto
    mask_folder: Path | None = None
    """Masks named as their pictures; without one, a folder `masks` beside the pictures is such a folder."""
    apart: tuple[Path, ...] = ()
    """Folders that are not this set's wherever they lie, such as the held-out pictures. A source itself is read."""
    unpacked: Path = field(default_factory=pictures_folder)
    """Where pictures out of shards and datasets are put, named by their content; never beside the user's files."""


@dataclass(frozen=True)
class Found:
    """What the sources hold."""

    samples: tuple[Sample, ...] = ()
    findings: tuple[Finding, ...] = ()
    remarks: tuple[str, ...] = ()
    """Plain lines on how things were read."""
