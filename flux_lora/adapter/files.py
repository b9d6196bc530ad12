"""Read adapter files of any dialect, and write them: the same contents give the same bytes."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from flux_lora.adapter.dialects.alpha import parse_peft_config
from flux_lora.adapter.dialects.module_tensors import from_checkpoint, is_checkpoint, to_checkpoint
from flux_lora.adapter.dialects.notes import notes_on_adapter
from flux_lora.adapter.dialects.peft import CONFIG, WEIGHTS, from_peft, peft_config
from flux_lora.adapter.dialects.read import StateDictContents
from flux_lora.adapter.dialects.table import DIALECTS, detect
from flux_lora.adapter.header import Entry, FileHeader, header_bytes, read_header
from flux_lora.adapter.layer_types import Adapter
from flux_lora.atomic import replacing, write_text
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
"""What older peft wrote; found so that the refusal can say that it is a pickle."""


@dataclass(frozen=True, kw_only=True)
class AdapterContents:
    """What an adapter file or folder holds."""

    adapter: Adapter
    text_encoders: Adapter
    """Deltas of CLIP (text_encoder.text_model...) and T5 (text_encoder_2.encoder...); often none."""
    dialect: str
    remarks: tuple[str, ...]
    """Notes for the user."""
    metadata: Mapping[str, str]


def write_dialect(
    adapter: Adapter, path: Path, *, dialect: str, metadata: Mapping[str, str], dtype: torch.dtype
) -> Path:
    """Write the adapter in a dialect that can be written: as the file `path`, or for peft as the folder `path`."""
    target = DIALECTS[dialect]
    assert target.write is not None, f"{dialect} is only read"
    tensors = target.write(adapter, dtype)
    if not target.folder:
        write_tensors(tensors, path, metadata)
        return path
    write_tensors(tensors, path / WEIGHTS, metadata)
    write_text(peft_config(adapter, metadata.get("flux_lora.base", "")), path / CONFIG)
    return path


def read_adapter(file: Path) -> Adapter:
    """The transformer's adapter from a checkpoint, or from a file or folder in any dialect."""
    return only_transformer(read_contents(file), file)


def only_transformer(contents: AdapterContents, path: Path) -> Adapter:
    """The transformer's adapter; an AdapterFileError where the file changes text encoders too."""
    if contents.text_encoders.deltas:
        raise AdapterFileError(
            f"{path} changes text encoders too ({len(contents.text_encoders.deltas)} layers), "
            "and this takes the transformer's adapter only",
            fix="give a LoRA of the transformer alone; flux-lora convert writes one",
        )
    return contents.adapter


def read_contents(path: Path) -> AdapterContents:
    """The adapter of a safetensors file in any dialect, or of a folder that peft saved."""
    file = adapter_file(path)
    header = read_header(file)
    if not is_checkpoint(header.tensors):
        detect(header.tensors)  # refuses a base model before its gigabytes are read
    return contents_of(file, tensors_behind(header, file), header.metadata)


def contents_of(file: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> AdapterContents:
    """As read_contents, of a file whose tensors and metadata are read already."""
    if is_checkpoint(tensors):
        return _with_notes(StateDictContents(from_checkpoint(tensors), Adapter({})), "flux_lora checkpoint", metadata)
    dialect = detect(tensors)
    if not dialect.folder:
        return _with_notes(dialect.read(tensors, metadata), dialect.name, metadata)
    return _with_notes(StateDictContents(from_peft(tensors, _peft_config(file)), Adapter({})), dialect.name, metadata)


def _with_notes(contents: StateDictContents, dialect: str, metadata: Mapping[str, str]) -> AdapterContents:
    return AdapterContents(
        adapter=contents.adapter,
        text_encoders=contents.text_encoders,
        dialect=dialect,
        remarks=(*contents.remarks, *notes_on_adapter(contents.adapter, metadata)),
        metadata=metadata,
    )


def adapter_file(path: Path) -> Path:
    """The file itself; of a folder, the file that peft wrote, or the only .safetensors there is."""
    if not path.is_dir():
        return path
    named = [path / name for name in (WEIGHTS, PICKLED) if (path / name).is_file()]
    files = named or sorted(path.glob("*.safetensors"))
    if named or len(files) == 1:
        return files[0]
    listed = f" ({', '.join(file.name for file in files[:3])})" if files else ""
    raise AdapterFileError(
        f"{path} holds {len(files)} .safetensors{listed}, and none is called {WEIGHTS}",
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
    """All tensors of a file, after its header is checked against its bytes."""
    return tensors_behind(read_header(file), file)


def tensors_behind(header: FileHeader, file: Path) -> dict[str, Tensor]:
    """All tensors of a file whose header was checked."""
    del header  # that there is one is what matters
    try:
        return load_file(file)
    except SafetensorError as error:
        raise AdapterFileError(
            f"{file} cannot be read: {error}", fix="fetch or export it again; it is damaged"
        ) from error


def write_tensors(tensors: Mapping[str, Tensor], file: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file whole or not at all; its folder is made.

    safetensors' own writer puts metadata in an order that changes from run to run; here the
    same contents give the same bytes, so a digest of a file means something.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    with replacing(file) as opened:
        opened.write(header_bytes(_entries({name: tensors[name] for name in names}), metadata))
        for name in names:
            opened.write(_bytes_of(tensors[name]))


def _entries(tensors: Mapping[str, Tensor]) -> dict[str, Entry]:
    """The header's entries, tensors lying one after the other in this order."""
    entries: dict[str, Entry] = {}
    start = 0
    for name, tensor in tensors.items():
        end = start + tensor.numel() * tensor.element_size()
        entries[name] = Entry(DTYPE_NAMES[tensor.dtype], tuple(tensor.shape), start, end)
        start = end
    return entries


def weights_digest(file: Path) -> str:
    """sha256 of a file, or of the weights in the folder that peft wrote."""
    with (file / WEIGHTS if file.is_dir() else file).open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


def adapter_digest(adapter: Adapter) -> str:
    """sha256 of the tensors of an adapter that no file holds yet."""
    digest = sha256()
    for name, tensor in sorted(to_checkpoint(adapter).items()):
        digest.update(name.encode())
        digest.update(_bytes_of(tensor))
    return digest.hexdigest()


def _bytes_of(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
