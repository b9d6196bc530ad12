"""Name a folder of weights by its contents, so that a cache made with other weights is never read."""

from hashlib import sha256
from pathlib import Path

WHOLE_BYTES = 64 * 2**20
"""Files up to this size are read whole; of larger ones, evenly spread windows."""
WINDOWS = 16
WINDOW_BYTES = 2**20


def fingerprint(folder: Path) -> str:
    """A digest of every file's name, size and contents (sampled where a file is large)."""
    digest = sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(folder).as_posix()}|{size}|".encode())
        digest.update(_seen(file, size))
    return digest.hexdigest()


def _seen(file: Path, size: int) -> bytes:
    if size <= WHOLE_BYTES:
        return file.read_bytes()
    with file.open("rb") as opened:
        windows = []
        for number in range(WINDOWS):
            opened.seek((size - WINDOW_BYTES) * number // (WINDOWS - 1))
            windows.append(opened.read(WINDOW_BYTES))
    return b"".join(windows)
