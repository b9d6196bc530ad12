"""Write beside, fsync, rename: the one way a file comes to be.

A file is whole or not there, whenever the process ends and whenever the power fails. What an interrupted write
leaves behind is `<name>.partial`.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

HALF_WRITTEN = ".partial"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} if os.name != "nt" else {errno.ENOSPC}
"""What a system says where a disk, a quota or the size of a file is used up."""


@contextmanager
def replacing(file: Path, *, half_written: Path | None = None, sync: bool = True) -> Iterator[BinaryIO]:
    """A new file beside this one, which takes its place once it is whole and on the disk.

    Where the body raises, `file` is as it was. `half_written` names the file beside it; <name>.partial by default.
    Without `sync` a power cut may take the new file: for what can be made again, and where thousands are written.
    """
    beside = half_written or file.with_name(f"{file.name}{HALF_WRITTEN}")
    file.parent.mkdir(parents=True, exist_ok=True)
    with beside.open("wb") as opened:
        yield opened
        if sync:
            opened.flush()
            os.fsync(opened.fileno())
    beside.replace(file)
    if sync:
        sync_folder(file.parent)


def write_bytes(content: bytes, file: Path) -> None:
    """Write a file whole or not at all; its folder is made."""
    with replacing(file) as opened:
        opened.write(content)


def write_text(text: str, file: Path) -> None:
    """Write a UTF-8 file whole or not at all; its folder is made."""
    write_bytes(text.encode("utf-8"), file)


def sync_folder(folder: Path) -> None:
    """Let a rename in this folder outlive a power cut. Windows cannot, and needs not."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
