"""Find the samples of a folder: each image, and the caption in the .txt beside it."""

import codecs
from dataclasses import dataclass
from pathlib import Path

from flux_lora.config.choices import SourceRole
from flux_lora.errors import DataError

IMAGE_ENDINGS = frozenset((".avif", ".bmp", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
CAPTION_ENDING = ".txt"


@dataclass(frozen=True)
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
    """Where the caption was read, or would have to be written."""
    encoding: str = ""
    """How the caption file was decoded: utf-8, utf-8-sig, utf-16, cp1252; empty where there was nothing to decode."""

    @property
    def captions(self) -> tuple[str, ...]:
        """Every caption; none where the picture has none."""
        return (self.caption, *self.variants) if self.caption else self.variants


def find_samples(folder: Path) -> list[Sample]:
    """The samples directly in a folder, sorted by name. Sub-folders, held_out among them, are left alone."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder", fix="set data.folder to the folder that holds your images")
    images = sorted(file for file in folder.iterdir() if _is_image(file))
    if not images:
        raise DataError(
            f"{folder} holds no images ({', '.join(sorted(IMAGE_ENDINGS))})",
            fix="put 10 to 30 images in it, each with a caption in a .txt of the same name",
        )
    return [Sample(image=image, caption=read_caption(image.with_suffix(CAPTION_ENDING))) for image in images]


def read_caption(file: Path) -> str:
    """A caption as one line of text, whatever editor wrote it; empty if the file is missing."""
    if not file.is_file():
        return ""
    return " ".join(_decoded(file.read_bytes()).split())


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_ENDINGS and file.is_file() and not file.name.startswith(".")


def _decoded(content: bytes) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")
