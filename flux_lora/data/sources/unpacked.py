"""Pictures that came out of a shard or a dataset, put where training can read them, named by their content."""

import re
from hashlib import sha256
from os import getpid
from pathlib import Path

from flux_lora.data.samples import IMAGE_ENDINGS
from flux_lora.errors import DataError

LONGEST_NAME = 80
BEGINNINGS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"RIFF": ".webp", b"BM": ".bmp"}


def keep_picture(content: bytes, name: str, folder: Path) -> Path:
    """Write it once, as <folder>/<digest>/<name>. What a name says of folders is forgotten, so it cannot lead out."""
    file = folder / sha256(content).hexdigest()[:24] / _safe_name(name, content)
    if file.is_file() and file.stat().st_size == len(content):
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        half_written = file.with_name(f"{file.name}.{getpid()}.partial")
        half_written.write_bytes(content)
        half_written.replace(file)
    except OSError as error:
        raise DataError(
            f"{file} cannot be written: {error.strerror}", fix="make room there, or set XDG_CACHE_HOME to another disk"
        ) from error
    return file


def _safe_name(name: str, content: bytes) -> str:
    last = re.split(r"[/\\]", name)[-1]
    stem, ending = Path(last).stem, Path(last).suffix.lower()
    if ending not in IMAGE_ENDINGS:
        ending = next((known for start, known in BEGINNINGS.items() if content.startswith(start)), ".picture")
    return (re.sub(r"[^\w-]+", "_", stem).strip("_")[:LONGEST_NAME] or "picture") + ending
