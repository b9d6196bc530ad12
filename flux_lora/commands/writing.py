"""Write an adapter in the names of one program or another, and prove each file by reading it back."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from flux_lora.adapter.algebra import cast
from flux_lora.adapter.files import write_dialect, write_tensors
from flux_lora.adapter.kinds import on_tensors
from flux_lora.adapter.labels.tell import tell
from flux_lora.adapter.layouts.text_encoders import to_text_encoders
from flux_lora.adapter.proof.loading import Base
from flux_lora.adapter.proof.prove import Proof, prove
from flux_lora.adapter.tensors import Adapter
from flux_lora.config.choices import ExportDialect, ExportDtype, FileDtype
from flux_lora.config.schema import ExportConfig
from flux_lora.errors import ConfigError

DTYPES = {
    FileDtype.bf16: torch.bfloat16,
    FileDtype.fp16: torch.float16,
    FileDtype.fp32: torch.float32,
}
EXPORT_DTYPES = {
    ExportDtype.bf16: torch.bfloat16,
    ExportDtype.fp16: torch.float16,
    ExportDtype.fp32: torch.float32,
}
ENDING = ".safetensors"
FOLDERS = (ExportDialect.peft,)
"""Dialects that are a folder and not a file."""


def write_proven(
    adapter: Adapter,
    place: Path,
    *,
    dialect: ExportDialect,
    dtype: torch.dtype,
    metadata: Mapping[str, str],
    base: Base | None = None,
) -> Proof:
    """Write the adapter, read it back as its programs will, and say what was seen, here and in the file.

    What does not fit the dtype is refused before anything is written. The proof goes into the header; the tensors
    stay those that were proven, byte for byte.
    """
    exact = cast(adapter, torch.float32)
    cast(exact, dtype)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_dialect(exact, place, dialect=dialect, metadata=metadata, dtype=dtype)
    proof = prove(place, exact, dialect=dialect, base=base)
    if dialect in FOLDERS:
        return proof
    known = tell(place, {"flux_lora.proof": json.dumps([asdict(each) for each in proof.readers])})
    return replace(proof, sha256=known.sha256, bytes=place.stat().st_size)


def write_text_encoders(text_encoders: Adapter, place: Path, dtype: torch.dtype) -> Path | None:
    """What a file changes of CLIP and T5 goes into a file of its own beside the other; none if it changes nothing."""
    if not text_encoders.changes:
        return None
    file = place.with_suffix(f".text_encoders{ENDING}")
    new_place(str(file), ExportDialect.kohya)
    write_tensors(to_text_encoders(text_encoders, dtype), file, {"format": "pt"})
    return file


def places(wanted: ExportConfig, folder: Path, name: str) -> dict[ExportDialect, Path]:
    """Where each dialect of an export goes: diffusers' under the plain name, any other with its dialect in the name."""
    if wanted.file:
        return {wanted.dialects[0]: Path(wanted.file)}
    root, stem = Path(wanted.dir) if wanted.dir else folder, wanted.name or name
    return {dialect: root / f"{stem}{_ending(dialect)}" for dialect in wanted.dialects}


def _ending(dialect: ExportDialect) -> str:
    if dialect in FOLDERS:
        return f".{dialect}"
    return ENDING if dialect is ExportDialect.diffusers else f".{dialect}{ENDING}"


def new_place(out: str, dialect: ExportDialect) -> Path:
    """Where a new file is to be, if nothing is there."""
    place = Path(out)
    if place.exists():
        raise ConfigError(f"{out} is there already", fix="name another place; nothing is written over")
    if dialect not in FOLDERS and place.suffix != ENDING:
        raise ConfigError(f"out={out} does not end in {ENDING}", fix=f"set out={out}{ENDING}")
    return place


def dtype_for(wanted: FileDtype, *adapters: Adapter) -> torch.dtype:
    """The dtype of a new file; `same` is the coarsest that holds every number of the adapters."""
    if wanted is not FileDtype.same:
        return DTYPES[wanted]
    found = [tensor.dtype for adapter in adapters for tensor in _tensors(adapter)]
    finest = reduce(torch.promote_types, found)
    return finest if finest in DTYPES.values() else torch.float32


def proof_in_words(proof: Proof) -> Iterator[str]:
    """A line for each program that takes the file, and for what one leaves out."""
    for each in proof.readers:
        yield (
            f"{each.reader} ({each.how}): {each.modules} modules, {each.unused} unused keys, {each.missing} missing, "
            f"each within {each.worst_error:.1e} of what was given"
        )
    if proof.output_error is not None:
        yield f"the base answers the same with the file, within {proof.output_error:.1e} of the adapter's effect"
    yield from proof.gaps


def _tensors(adapter: Adapter) -> list[Tensor]:
    found: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    for change in adapter.changes.values():
        on_tensors(change, keep)
    return found
