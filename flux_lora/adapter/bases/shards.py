"""The safetensors files of a base transformer: where they are, what they hold, and one tensor at a time."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from flux_lora.adapter.files import DTYPE_NAMES
from flux_lora.adapter.header import Entry, FileHeader, read_header
from flux_lora.errors import ModelError

PIPELINE_INDEX = "model_index.json"
SHARD_INDEX = "diffusion_pytorch_model.safetensors.index.json"
CONFIG = "config.json"
BLOCK = re.compile(r"(|.*?\.)(?:(double_blocks|single_blocks)|(single_)?transformer_blocks)\.\d+\..+")
"""Whatever stands before a block's name stands before every name; `model.diffusion_model.`, for one."""
WEIGHT = ".weight"
DTYPES: Mapping[str, torch.dtype] = {name: dtype for dtype, name in DTYPE_NAMES.items()}
WIDE_DTYPES = ("F64", "F32", "F16", "BF16")
"""In these a weight is itself; in others it is rounded, and may be packed or scaled."""
CHUNK_BYTES = 2**24


@dataclass(frozen=True)
class BaseFiles:
    """A transformer on disk, with all headers read and no tensor."""

    root: Path
    """The folder, or the single file."""
    shards: Mapping[Path, FileHeader]
    prefix: str
    native: bool
    """Whether it has FLUX's own names (double_blocks); diffusers' otherwise."""

    def module_of(self, key: str) -> str:
        """The module that a key of a shard belongs to."""
        return key.removeprefix(self.prefix).removesuffix(WEIGHT)

    @cached_property
    def modules(self) -> dict[str, tuple[Path, str]]:
        """Each module that has a weight: the file and the key."""
        keys = ((file, key) for file, header in self.shards.items() for key in header.tensors)
        return {self.module_of(key): (file, key) for file, key in keys if key.endswith(WEIGHT)}

    @property
    def companions(self) -> tuple[Path, ...]:
        """The small files without which the shards are no model."""
        if self.root.is_file():
            return ()
        return tuple(self.root / name for name in (CONFIG, SHARD_INDEX) if (self.root / name).is_file())


def open_base(place: Path) -> BaseFiles:
    """A diffusers pipeline or transformer folder, sharded or not, or a single file in either naming."""
    root = place / "transformer" if (place / PIPELINE_INDEX).is_file() else place
    shards = {file: read_header(file) for file in _shards(root)}
    for key in (key for header in shards.values() for key in header.tensors):
        block = BLOCK.fullmatch(key)
        if block:
            return BaseFiles(root, shards, prefix=block[1], native=block[2] is not None)
    raise ModelError(
        f"{place} holds no FLUX transformer", fix="give a FLUX.1 transformer: a diffusers folder or one file"
    )


def tensor_of(file: Path, header: FileHeader, key: str) -> Tensor:
    """One tensor of a file."""
    entry = header.tensors[key]
    raw = bytearray(entry.end - entry.start)
    with file.open("rb") as opened:
        opened.seek(_start(header) + entry.start)
        opened.readinto(raw)
    return torch.frombuffer(raw, dtype=DTYPES[entry.dtype]).reshape(entry.shape)


def raw_of(file: Path, header: FileHeader, entry: Entry) -> Iterator[bytes]:
    """The bytes of one tensor, in chunks."""
    with file.open("rb") as opened:
        opened.seek(_start(header) + entry.start)
        for place in range(entry.start, entry.end, CHUNK_BYTES):
            yield opened.read(min(CHUNK_BYTES, entry.end - place))


def _start(header: FileHeader) -> int:
    return header.bytes - max(entry.end for entry in header.tensors.values())


def _shards(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    index = root / SHARD_INDEX
    if not index.is_file():
        files = sorted(root.glob("*.safetensors"))
        if len(files) == 1:
            return files
        raise ModelError(
            f"{root} holds {len(files)} safetensors files and no {SHARD_INDEX}",
            fix="give a diffusers transformer folder, or one .safetensors file",
        )
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{index} is not the index of a sharded model", fix="fetch the model again") from error
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise ModelError(
            f"{root} lacks {len(missing)} of {len(names)} shards, first {missing[0]}", fix="fetch the model again"
        )
    return [root / name for name in names]
