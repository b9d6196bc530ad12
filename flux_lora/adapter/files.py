"""Read and write adapter files: beside and renamed, byte for byte the same for the same contents."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from flux_lora.adapter.header import Entry, header_bytes, read_header
from flux_lora.adapter.layouts.dialects import DIALECTS, detect
from flux_lora.adapter.layouts.inner import from_checkpoint, is_checkpoint
from flux_lora.adapter.layouts.peft import CONFIG, WEIGHTS, from_peft, peft_config
from flux_lora.adapter.layouts.reading import StateDictContents
from flux_lora.adapter.layouts.remarks import notes_on_adapter
from flux_lora.adapter.layouts.scales import parse_peft_config
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

PICKLED = "adapter_model.bin"
"""What older peft wrote; it is found so that it can be refused as what it is."""


@dataclass(frozen=True, kw_only=True)
class AdapterContents:
    """What a file or a folder holds, whoever wrote it."""

    adapter: Adapter
    text_encoders: Adapter
    """Changes of CLIP (text_encoder.text_model...) and T5 (text_encoder_2.encoder...); often none."""
    dialect: str
    remarks: tuple[str, ...]
    """What its owner may want to know."""
    metadata: Mapping[str, str]


def write_dialect(
    adapter: Adapter, place: Path, *, dialect: str, metadata: Mapping[str, str], dtype: torch.dtype
) -> Path:
    """Write the adapter as one of the dialects.WRITABLE: a file, or for peft the folder `place`."""
    chosen = DIALECTS[dialect]
    assert chosen.write is not None, f"{dialect} is only read"
    tensors = chosen.write(adapter, dtype)
    if not chosen.folder:
        write_tensors(tensors, place, metadata)
        return place
    write_tensors(tensors, place / WEIGHTS, metadata)
    (place / CONFIG).write_text(peft_config(adapter, metadata.get("flux_lora.base", "")), encoding="utf-8")
    return place


def read_adapter(file: Path) -> Adapter:
    """The adapter of a checkpoint, or of anybody's file or folder; of the transformer only."""
    return only_transformer(read_contents(file), file)


def only_transformer(reading: AdapterContents, place: Path) -> Adapter:
    """What was read of a file that may change nothing but the transformer."""
    if reading.text_encoders.deltas:
        raise AdapterFileError(
            f"{place} changes text encoders too ({len(reading.text_encoders.deltas)} layers), "
            "and this takes the transformer's adapter only",
            fix="give a LoRA of the transformer alone; flux-lora convert writes one",
        )
    return reading.adapter


def read_contents(place: Path) -> AdapterContents:
    """The adapter of a safetensors file in any dialect, or of a folder that peft saved."""
    file = adapter_file(place)
    header = read_header(file)
    if not is_checkpoint(header.tensors):
        detect(header.tensors)  # refuses a base model before its gigabytes are read
    return contents_of(file, read_tensors(file), header.metadata)


def contents_of(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> AdapterContents:
    """The same of a file whose tensors and metadata were read before."""
    if is_checkpoint(tensors):
        return _reading(StateDictContents(from_checkpoint(tensors), Adapter({})), "flux_lora checkpoint", metadata)
    dialect = detect(tensors)
    if not dialect.folder:
        return _reading(dialect.read(tensors, metadata), dialect.name, metadata)
    return _reading(StateDictContents(from_peft(tensors, _peft_config(file)), Adapter({})), dialect.name, metadata)


def _reading(content: StateDictContents, dialect: str, metadata: Mapping[str, str]) -> AdapterContents:
    return AdapterContents(
        adapter=content.adapter,
        text_encoders=content.text_encoders,
        dialect=dialect,
        remarks=(*content.remarks, *notes_on_adapter(content.adapter, metadata)),
        metadata=metadata,
    )


def adapter_file(place: Path) -> Path:
    """The file itself, or in a folder the one that peft wrote, or the only one there is."""
    if not place.is_dir():
        return place
    named = [place / name for name in (WEIGHTS, PICKLED) if (place / name).is_file()]
    files = named or sorted(place.glob("*.safetensors"))
    if named or len(files) == 1:
        return files[0]
    listed = f" ({', '.join(file.name for file in files[:3])})" if files else ""
    raise AdapterFileError(
        f"{place} holds {len(files)} .safetensors{listed}, and none is called {WEIGHTS}",
        fix="give the path of one file",
    )


def _peft_config(file: Path) -> Mapping[str, object]:
    config = file.with_name(CONFIG)
    if not config.is_file():
        raise AdapterFileError(
            f"{file} is in peft's layout, and its alpha stands in {CONFIG}, which is not beside it",
            fix=f"put {CONFIG} into {file.parent}",
        )
    return parse_peft_config(config.read_text(encoding="utf-8", errors="replace"), str(config))


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
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    with replacing(file) as opened:
        opened.write(header_bytes(_entries({name: tensors[name] for name in names}), metadata))
        for name in names:
            opened.write(_raw(tensors[name]))


@contextmanager
def replacing(file: Path) -> Iterator[BinaryIO]:
    """A new file beside this one, which takes its place once it is whole and on the disk."""
    half_written = file.with_name(f"{file.name}.partial")
    with half_written.open("wb") as opened:
        yield opened
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


def _entries(tensors: Mapping[str, Tensor]) -> dict[str, Entry]:
    """Where each tensor lies if they follow each other."""
    entries: dict[str, Entry] = {}
    place = 0
    for name, tensor in tensors.items():
        end = place + tensor.numel() * tensor.element_size()
        entries[name] = Entry(DTYPE_NAMES[tensor.dtype], tuple(tensor.shape), place, end)
        place = end
    return entries


def _raw(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
