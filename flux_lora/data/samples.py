"""A sample: an image file and its caption. Where samples come from is in sources/."""

from dataclasses import dataclass
from pathlib import Path

from flux_lora.config.choices import SourceRole
from flux_lora.config.material import SourceConfig
from flux_lora.data.box import Box

IMAGE_ENDINGS = frozenset(
    (".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
)
CAPTION_ENDING = ".txt"
"""How a new caption file is named; sources/ reads .caption too."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image file and its caption. A missing caption is an empty one, for the judge to speak of."""

    image: Path
    caption: str
    variants: tuple[str, ...] = ()
    """More captions of the same picture."""
    mask: Path | None = None
    """A grey picture of the same shape: white counts fully in the loss, black not at all."""
    role: SourceRole = SourceRole.subject
    repeats: int = 1
    """How often the picture is in one round through the set."""
    caption_file: Path | None = None
    """Where the caption was read (a table or a shard may be that) or, a .txt beside the picture, would be written."""
    encoding: str = ""
    """How the caption was decoded, as sources/texts.py names it; empty where there was nothing that could be."""
    source: str = ""
    """The folder, table, shard or dataset it came from."""
    box: Box | None = None
    """What must stay inside a crop, as the column `box` of a table says it; it may reach beyond the picture."""

    @property
    def captions(self) -> tuple[str, ...]:
        """Every caption; none where the picture has none."""
        return (self.caption, *self.variants) if self.caption else self.variants


def find_samples(folder: Path) -> list[Sample]:
    """The samples directly in a folder, sorted by name. Sub-folders, held_out among them, are left alone."""
    from flux_lora.data.sources.find import find  # it builds samples, so it cannot be imported before they are
    from flux_lora.data.sources.source import SourceOptions

    return list(find([SourceConfig(path=str(folder))], SourceOptions(recursive=False)).samples)
