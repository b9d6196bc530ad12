"""Everything that is shared in one .zip; the same files give the same bytes."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from flux_lora.adapter.files import replacing

LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a .zip can tell."""
READABLE = 0o644 << 16
PACKED_ALREADY = {".safetensors", ".png", ".jpg", ".webp"}


def bundle(folder: Path, files: Sequence[Path], to: Path) -> Path:
    """Write the files of a folder into one .zip, beside first and then renamed; the folder's name is its top."""
    with replacing(to) as opened, ZipFile(opened, "w", allowZip64=True) as packed:
        for file in sorted(files):
            described = ZipInfo(f"{to.stem}/{file.relative_to(folder).as_posix()}", LONG_AGO)
            described.create_system, described.external_attr = 3, READABLE
            described.compress_type = ZIP_STORED if file.suffix in PACKED_ALREADY else ZIP_DEFLATED
            described.file_size = file.stat().st_size
            with file.open("rb") as read, packed.open(described, "w") as written:
                shutil.copyfileobj(read, written, 1 << 20)
    return to
