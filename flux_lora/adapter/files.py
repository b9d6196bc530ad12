"""Read and write safetensors files: beside and renamed, byte for byte the same for the same contents."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from flux_lora.adapter.header import LENGTH_BYTES, METADATA, read_header
from flux_lora.adapter.layouts.diffusers import from_diffusers, to_diffusers
from flux_lora.adapter.layouts.inner import from_inner, is_inner
from flux_lora.adapter.tensors import Adapter
from flux_lora.errors import AdapterFileError

DTYPE_NAMES: Mapping[torch.dtype, str] = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
}


def write_file(adapter: Adapter, file: Path, *, metadata: Mapping[str, str], dtype: torch.dtype) -> Path:
    """Write the file that diffusers and ComfyUI both read, and return its place."""
    write_tensors(to_diffusers(adapter, dtype), file, metadata)
    return file


def read_adapter(file: Path) -> Adapter:
    """The adapter of an exported file or of a checkpoint."""
    tensors = read_tensors(file)
    return from_inner(tensors) if is_inner(tensors) else from_diffusers(tensors)


def read_tensors(file: Path) -> dict[str, Tensor]:
    """All tensors of a file, once its header has been found true."""
    read_header(file)
    try:
        return load_file(file)
    except SafetensorError as error:
        raise AdapterFileError(
            f"{file} cannot be read: {error}", fix="fetch or export it again; it is damaged"
        ) from error


def write_tensors(tensors: Mapping[str, Tensor], file: Path, metadata: Mapping[str, str]) -> None:
    """Write beside, then rename: the file is whole or not there.

    safetensors' own writer puts metadata in an order that changes from run to run; here the
    same contents give the same bytes, so a digest of a file means something.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    half_written = file.with_name(f"{file.name}.partial")
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    with half_written.open("wb") as opened:
        opened.write(_header({name: tensors[name] for name in names}, metadata))
        for name in names:
            opened.write(_raw(tensors[name]))
        opened.flush()
        os.fsync(opened.fileno())
    half_written.replace(file)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Let a rename in this folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _header(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    contents: dict[str, object] = {METADATA: dict(sorted(metadata.items()))}
    place = 0
    for name, tensor in tensors.items():
        end = place + tensor.numel() * tensor.element_size()
        described = {"dtype": DTYPE_NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        contents[name] = described
        place = end
    raw = json.dumps(contents, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % LENGTH_BYTES)
    return len(raw).to_bytes(LENGTH_BYTES, "little") + raw


def _raw(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
