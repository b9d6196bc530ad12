"""Write an adapter in a dialect, and prove the file by reading it back."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from flux_lora.adapter.dialects.table import DIALECTS
from flux_lora.adapter.dialects.text_encoders import to_text_encoders
from flux_lora.adapter.files import write_dialect, write_tensors
from flux_lora.adapter.layer_types import Adapter, LoRA, all_finite, tensors_in
from flux_lora.adapter.merge_resize import cast_adapter
from flux_lora.adapter.metadata import MOST_FACTS, add_metadata, inherited_metadata
from flux_lora.adapter.proof.diffusers_load import LoadedBase
from flux_lora.adapter.proof.loader_check import check_known_modules, check_not_empty
from flux_lora.adapter.proof.prove import Proof, prove
from flux_lora.config.choices import ExportDialect, FileDtype
from flux_lora.config.schema import ExportConfig
from flux_lora.errors import AdapterFileError, ConfigError, RunError
from flux_lora.models.family import ModelFamily
from flux_lora.models.registry import FAMILIES

DTYPES: Mapping[str, torch.dtype] = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
"""By the names that ExportDtype and FileDtype share."""
ENDING = ".safetensors"
FOLDERS = (ExportDialect.peft,)
"""Dialects that are a folder and not a file."""
PROOF = "flux_lora.proof"
MOST_HANDED_ON = MOST_FACTS // 2
"""Bytes of an old file's metadata that a new one repeats; the rest is for its own proof and hashes."""


def write_proven(
    adapter: Adapter,
    place: Path,
    *,
    dialect: ExportDialect,
    dtype: torch.dtype,
    metadata: Mapping[str, str],
    base: LoadedBase | None = None,
) -> Proof:
    """Write the adapter, read it back as its programs will, and say what was seen, here and in the file.

    What the dialect has no room for, or the dtype cannot hold, is refused before anything is written. The proof goes
    into the header, without the place of the file; the tensors stay those that were proven, byte for byte.
    """
    families = (base.family,) if base else FAMILIES
    _check_numbers(adapter, families)
    with disk_explained(place):
        write_dialect(adapter, place, dialect=dialect, metadata=metadata, dtype=dtype)
    proof = prove(place, adapter, dialect=dialect, base=base)
    if dialect in FOLDERS:
        return proof
    with disk_explained(place):
        known = add_metadata(place, {PROOF: json.dumps([asdict(each) for each in proof.readers])})
    return replace(proof, sha256=known.sha256, bytes=place.stat().st_size)


def write_text_encoders(text_encoders: Adapter, place: Path, dtype: torch.dtype) -> Path | None:
    """What a file changes of CLIP and T5 goes into a file of its own beside the other; none if it changes nothing."""
    if not text_encoders.deltas:
        return None
    file = text_encoders_place(place)
    with disk_explained(file):
        write_tensors(to_text_encoders(text_encoders, dtype), file, {"format": "pt"})
    return file


def check_writable(
    adapter: Adapter, text_encoders: Adapter, wanted: Mapping[ExportDialect, Path], dtype: torch.dtype
) -> None:
    """Refuse what cannot be written before anything is: a place that is taken, a kind or layer that a dialect has no
    room for, a number that the dtype cannot hold."""
    for dialect, place in wanted.items():
        new_place(str(place), dialect)
    if text_encoders.deltas:
        file = text_encoders_place(next(iter(wanted.values())))
        new_place(str(file), ExportDialect.kohya)
        to_text_encoders(text_encoders, dtype)
    if len(wanted) > 1 or text_encoders.deltas:
        check_room(adapter, tuple(wanted), dtype)


def check_room(
    adapter: Adapter,
    dialects: Sequence[ExportDialect],
    dtype: torch.dtype,
    families: Sequence[ModelFamily] = FAMILIES,
) -> None:
    """Refuse, by name, what one of the dialects has no room for."""
    exact = cast_adapter(adapter, torch.float32)
    _check_numbers(exact, families)
    for dialect in dialects:
        chosen = DIALECTS[dialect]
        assert chosen.write is not None, f"{dialect} is only read"
        chosen.write(exact, dtype)


def inherited_facts(metadata: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """What a new file says of the old one's metadata, and the names of what was too long to be said again."""
    facts = {key: value for key, value in inherited_metadata(metadata).items() if key != PROOF}
    sizes = {key: len(json.dumps((key, value))) for key, value in facts.items()}
    left_out: list[str] = []
    total = sum(sizes.values())
    for key in sorted(sizes, key=lambda key: -sizes[key]):
        if total <= MOST_HANDED_ON:
            break
        left_out.append(key)
        total -= sizes[key]
        del facts[key]
    return facts, tuple(left_out)


def export_paths(wanted: ExportConfig, folder: Path, name: str) -> dict[ExportDialect, Path]:
    """Where each dialect of an export goes: diffusers' under the plain name, any other with its dialect in the name.

    diffusers' comes first, because what lies beside the files is made for the first, and folders come last.
    """
    if wanted.file:
        return {wanted.dialects[0]: Path(wanted.file).expanduser()}
    root, stem = Path(wanted.dir).expanduser() if wanted.dir else folder, wanted.name or name
    ordered = sorted(wanted.dialects, key=lambda each: (each in FOLDERS, each is not ExportDialect.diffusers))
    return {dialect: root / f"{stem}{_ending(dialect)}" for dialect in ordered}


def _ending(dialect: ExportDialect) -> str:
    if dialect in FOLDERS:
        return f".{dialect}"
    return ENDING if dialect is ExportDialect.diffusers else f".{dialect}{ENDING}"


def text_encoders_place(place: Path) -> Path:
    """Where the changes of text encoders go that came with what is written to `place`."""
    return place.with_name(f"{place.name.removesuffix(ENDING)}.text_encoders{ENDING}")


def new_place(out: str, dialect: ExportDialect) -> Path:
    """Where a new file is to be, if nothing is there."""
    place = Path(out)
    if place.exists():
        raise ConfigError(f"{out} is there already", fix="name another place; nothing is written over")
    if dialect not in FOLDERS and place.suffix != ENDING:
        raise ConfigError(f"{out} does not end in {ENDING}", fix=f"name it {out}{ENDING}")
    if dialect in FOLDERS and place.suffix == ENDING:
        raise ConfigError(
            f"{dialect} is a folder, and {out} is the name of a file", fix=f"name it {place.with_suffix('')}"
        )
    return place


def title_of(place: Path) -> str:
    """What a file or folder is called, without a file's ending."""
    return place.resolve().name.removesuffix(ENDING)


@contextmanager
def disk_explained(place: Path) -> Iterator[None]:
    """A full disk or a forbidden folder, in words."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"{place} cannot be written: {error.strerror or error}", fix="name another place, or make room there"
        ) from error


def dtype_for(wanted: FileDtype, *adapters: Adapter) -> torch.dtype:
    """The dtype of a new file; `same` is the coarsest that holds every number of the adapters."""
    if wanted is not FileDtype.same:
        return DTYPES[wanted]
    found = {tensor.dtype for adapter in adapters for tensor in _tensors(adapter)}
    if not found or not found <= set(DTYPES.values()):
        return torch.float32
    return reduce(torch.promote_types, found)


def proof_in_words(proof: Proof) -> Iterator[str]:
    """A line for each program that takes the file, and for what one leaves out."""
    for each in proof.readers:
        yield (
            f"{each.reader} ({each.how}): {each.modules} modules, {each.unused} unused keys, {each.missing} missing, "
            f"each {_near(each.worst_error, 'what was given')}"
        )
    if proof.output_error is not None:
        yield f"the base's answer with the file is {_near(proof.output_error, 'that with the adapter read out of it')}"
    yield from proof.gaps


def _near(error: float, what: str) -> str:
    return f"within {error:.1e} of {what}" if error else f"exactly {what}"


def _check_numbers(adapter: Adapter, families: Sequence[ModelFamily]) -> None:
    for name, change in adapter.deltas.items():
        if not isinstance(change, LoRA) and not all(map(all_finite, _tensors(Adapter({name: change})))):
            raise AdapterFileError(f"{name} holds numbers that are not finite", fix="take an earlier checkpoint")
    if adapter.deltas:
        check_not_empty(adapter)
        check_known_modules(adapter, families)


def _tensors(adapter: Adapter) -> list[Tensor]:
    return [tensor for change in adapter.deltas.values() for tensor in tensors_in(change)]
