"""Pictures that came out of a shard or a dataset, put where training can read them, named by their content."""

import re
from dataclasses import dataclass
from hashlib import sha256
from os import getpid
from pathlib import Path

from flux_lora.data.box import Box
from flux_lora.data.samples import IMAGE_ENDINGS
from flux_lora.data.sources.rows import Row
from flux_lora.errors import DataError

LONGEST_NAME = 80
BEGINNINGS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp"}


@dataclass(frozen=True, slots=True)
class UnpackedFile:
    """A picture or a mask that has a place of its own by now."""

    path: str
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class UnpackedRow:
    """A row whose picture is a file by now; or why it is none."""

    where: str
    problem: str = ""
    texts: tuple[str, ...] = ()
    encoding: str = ""
    unread: tuple[str, ...] = ()
    """Parts of it that are not read, by their endings."""
    picture: UnpackedFile | None = None
    """None where there is a problem."""
    mask: UnpackedFile | None = None
    box: Box | None = None


def unpack_row(row: Row, folder: Path) -> UnpackedRow:
    """The row with its picture and mask in the folder."""
    if row.problem or row.picture is None:
        return UnpackedRow(row.where, row.problem or "carries no picture", unread=row.unread)
    mask = unpack_image(row.mask, f"{Path(row.name).stem}_mask", folder) if row.mask else None
    picture = unpack_image(row.picture, row.name, folder)
    return UnpackedRow(row.where, "", row.texts, row.encoding, row.unread, picture, mask, row.box)


def unpack_image(content: bytes, name: str, folder: Path) -> UnpackedFile:
    """Write it once, as <folder>/<digest>/<name>. What a name says of folders is forgotten, so it cannot lead out."""
    file = folder / sha256(content).hexdigest()[:24] / _safe_name(name, content)
    kept = UnpackedFile(str(file), len(content))
    if file.is_file() and file.stat().st_size == kept.size:
        return kept
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        half_written = file.with_name(f"{file.name}.{getpid()}.partial")
        half_written.write_bytes(content)
        half_written.replace(file)
    except OSError as error:
        raise DataError(
            f"{file} cannot be written: {error.strerror}", fix="make room there, or set XDG_CACHE_HOME to another disk"
        ) from error
    return kept


def _safe_name(name: str, content: bytes) -> str:
    last = re.split(r"[/\\]", name)[-1]
    stem, ending = Path(last).stem, Path(last).suffix.lower()
    if ending not in IMAGE_ENDINGS:
        ending = next((known for start, known in BEGINNINGS.items() if content.startswith(start)), ".picture")
    return (re.sub(r"[^\w-]+", "_", stem).strip("_")[:LONGEST_NAME] or "picture") + ending
