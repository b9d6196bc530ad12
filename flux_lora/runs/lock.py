"""One process trains in a run folder. The kernel lets go of the lock however that process ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from flux_lora.errors import RunError

LOCK = ".lock"


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Raises RunError where another process trains in this folder. Of several that train together one takes it."""
    with (folder / LOCK).open("a+b") as opened:
        if not _taken(opened):
            opened.seek(0)
            holder = opened.read().decode(errors="replace").strip() or "unknown"
            raise RunError(
                f"another process (number {holder}) trains in {folder}",
                fix="wait for it, stop it, or set run.dir to another folder",
            )
        opened.truncate(0)
        opened.write(str(os.getpid()).encode())
        opened.flush()
        yield


def is_alone_in(folder: Path) -> bool:
    """Whether no process trains in this folder now."""
    if not (folder / LOCK).exists():
        return True
    with (folder / LOCK).open("a+b") as opened:
        return _taken(opened)


def _taken(opened: BinaryIO) -> bool:
    """Whether the lock is ours now. Closing the file gives it back."""
    try:
        if sys.platform == "win32":
            import msvcrt

            opened.seek(2**20)  # a byte that nobody reads: Windows locks bytes, and others still read the number
            msvcrt.locking(opened.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return True  # a file system that knows no locks: better to train than not to
    return True
