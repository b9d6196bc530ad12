"""The digests that file managers and galleries know a LoRA by.

| name | of what | who asks for it |
|---|---|---|
| sha256 | the whole file | downloads, Hugging Face |
| AutoV2 | its first 10 letters | Civitai, A1111's managers |
| AutoV1 | 64 KiB after the first MiB, 8 letters | old webuis |
| sshs_model_hash | all bytes after the header | A1111 and Forge, whose pictures quote its first 12 letters |
| AutoV3 | those 12 letters | Civitai, ComfyUI's LoRA managers |
| sshs_legacy_hash | as AutoV1, of the file with ss_ metadata alone | sd-webui-additional-networks |

A1111 and Forge believe what a file says of itself, and Civitai computes: where the two differ, a picture's
LoRA is not found. So what is written into a file is what its bytes give, in lower case and without 0x.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from flux_lora.adapter.header import LENGTH_BYTES, FileHeader, header_bytes

CHUNK_BYTES = 2**20
WINDOW_START, WINDOW_BYTES = 0x100000, 0x10000
OF_NOTHING = sha256().hexdigest()
"""What no bytes at all give. Some tools write it by mistake, and many files then go by one name."""


@dataclass(frozen=True)
class Hashes:
    """The digests of one file, in lower case."""

    sha256: str
    tensors: str
    """Of the bytes after the header: metadata may change, and this stays."""
    legacy: str
    """sshs_legacy_hash."""
    autov1: str

    @property
    def autov2(self) -> str:
        """The name of the file."""
        return self.sha256[:10]

    @property
    def autov3(self) -> str:
        """The name of what is in the file."""
        return self.tensors[:12]


def hashes_of(file: Path, header: FileHeader) -> Hashes:
    """Every digest, reading the file once. `header` is the file's own."""
    whole, tensors = sha256(), sha256()
    with file.open("rb") as opened:
        length = LENGTH_BYTES + int.from_bytes(opened.read(LENGTH_BYTES), "little")
        opened.seek(0)
        whole.update(opened.read(length))
        for chunk in chunks(opened):
            whole.update(chunk)
            tensors.update(chunk)
        trained = {key: value for key, value in header.metadata.items() if key.startswith("ss_")}
        legacy = _window(opened, length, header_bytes(header.tensors, trained))
        opened.seek(0)
        autov1 = _window(opened, length, opened.read(length))
    return Hashes(whole.hexdigest(), tensors.hexdigest(), legacy, autov1)


def chunks(opened: BinaryIO) -> Iterator[bytes]:
    """The rest of an open file, a piece at a time."""
    while chunk := opened.read(CHUNK_BYTES):
        yield chunk


def _window(opened: BinaryIO, length: int, header: bytes) -> str:
    """The old short digest, as if the tensors that begin at `length` stood after this header."""
    seen = header[WINDOW_START : WINDOW_START + WINDOW_BYTES]
    opened.seek(length + max(0, WINDOW_START - len(header)))
    return sha256(seen + opened.read(WINDOW_BYTES - len(seen))).hexdigest()[:8]
