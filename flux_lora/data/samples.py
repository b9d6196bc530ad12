"""A sample: an image file, its caption and mask, and the box that crops must hold. They are found by sources/."""

from dataclasses import dataclass
from pathlib import Path

from flux_lora.config.choices import SourceRole


@dataclass(frozen=True, slots=True)
class Box:
    """A part of an image, in pixels of the upright image."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Pixels."""
        return self.bottom - self.top

    def holds(self, other: "Box", slack: float = 1.0) -> bool:
        """Whether the other lies inside, but for `slack` pixels at each side."""
        beyond = (self.left - other.left, self.top - other.top, other.right - self.right, other.bottom - self.bottom)
        return max(beyond) <= slack


IMAGE_ENDINGS = frozenset(
    (".avif", ".bmp", ".gif", ".heic", ".heif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
)
CAPTION_ENDING = ".txt"
"""Of new caption files; sources/ reads .caption too."""


@dataclass(frozen=True, slots=True)
class Sample:
    """An image file and its caption. A missing caption is an empty one; checks/ finds those."""

    image: Path
    caption: str
    variants: tuple[str, ...] = ()
    """More captions of the same image; one is drawn each time it is shown."""
    mask: Path | None = None
    """A grey image of the same aspect: white is weight 1 in the loss, black 0."""
    role: SourceRole = SourceRole.subject
    repeats: int = 1
    """How often the image is shown in an epoch."""
    caption_file: Path | None = None
    """The file the caption was read from, which may be a table or a shard, or the .txt it would be written to."""
    encoding: str = ""
    """Text encoding of the caption, as sources/text_files.py names it; empty where there was nothing to decode."""
    source: str = ""
    """The folder, table, shard or dataset it came from."""
    box: Box | None = None
    """What crops must hold, from the column `box` of a table; it may reach beyond the image."""
    references: tuple[Path, ...] = ()
    """Images that this one is made from, for an edit: what it was before."""

    @property
    def captions(self) -> tuple[str, ...]:
        """Every caption; none where the image has none."""
        return (self.caption, *self.variants) if self.caption else self.variants
