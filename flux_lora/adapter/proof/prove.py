"""Prove a written file: every program that its dialect is for reads all of it, as it was trained.

diffusers, ComfyUI and sd-scripts do not report keys that they do not use: the user sees a weak LoRA, or
none. So every export ends here. Nothing is deleted where a proof fails; the module or key is named.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import torch

from flux_lora.adapter.attach import detach
from flux_lora.adapter.dialects.peft import WEIGHTS
from flux_lora.adapter.files import read_adapter, read_tensors, weights_digest
from flux_lora.adapter.header import read_header
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.adapter.loaders.diffusers import DIFFUSERS
from flux_lora.adapter.proof.diffusers_load import LoadedBase, load, output_errors, shapes_of
from flux_lora.adapter.proof.expected_support import EVERYTHING, ExpectedSupport, expected_loaders, gaps
from flux_lora.adapter.proof.loader_check import (
    WRITE_AGAIN,
    Case,
    ReaderProof,
    check_finite,
    check_known_modules,
    check_not_empty,
    proof_of,
    read_by_table,
)
from flux_lora.errors import AdapterFileError
from flux_lora.models.family import Shapes
from flux_lora.models.registry import FAMILIES

OUTPUT_BOUND = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""How far two computations of one adapter may differ in the base's dtype, relative to the adapter's effect."""
LOADED, LOADED_BARE, READ_BACK = "loaded", "loaded, without the base's weights", "read back by this package"
OURSELVES = "flux_lora"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Measurements of a file that was read back."""

    file: str
    bytes: int
    sha256: str
    dialect: str
    readers: tuple[ReaderProof, ...]
    gaps: tuple[str, ...]
    """Programs of this dialect that leave something out, by what is known of them."""
    output_error: float | None
    """Difference of the transformer's outputs with the file and with the adapter read from it, relative to the effect
    of the adapter. None without a base."""
    output_error_fp32: float | None
    """The same against the trained adapter itself: what rounding to the file's dtype costs."""

    @property
    def worst(self) -> ReaderProof:
        """The program with the largest error."""
        return max(self.readers, key=lambda reader: reader.worst_error)


def prove(file: Path, adapter: Adapter, *, dialect: str = "diffusers", base: LoadedBase | None = None) -> Proof:
    """Reopen the file, read it as each program that the dialect is for, and compare with the trained adapter.

    diffusers itself loads it: into the base, else into a family's transformer without weights if the adapter is of
    its shapes. Raises AdapterFileError, naming the first module or key that is not as trained.
    """
    weights = file / WEIGHTS if file.is_dir() else file
    case = Case(weights, read_tensors(weights), read_header(weights).metadata, adapter)
    check_not_empty(adapter)
    check_known_modules(adapter, (base.family,) if base else FAMILIES)
    check_finite(case)
    target = base or _weightless_if_it_fits(adapter)
    if target is not None:
        detach(target.transformer)
    shapes = FAMILIES[0].linear_shapes() if target is None else shapes_of(target.transformer)
    promises = expected_loaders(dialect, adapter)
    readers = {promise.reader.name: read_by_table(case, promise, shapes) for promise in promises}
    if not readers:
        readers = {OURSELVES: proof_of(case, OURSELVES, EVERYTHING, read_adapter(file).deltas, how=READ_BACK)}
    in_diffusers = next((promise for promise in promises if promise.reader is DIFFUSERS), None)
    output_error = output_error_fp32 = None
    if in_diffusers and target and target.family.loads_in_diffusers(dialect, adapter.deltas, shapes):
        _check_fit(adapter, shapes)
        loaded = load(file, target.family, target.transformer)
        how, unused = LOADED if base else LOADED_BARE, readers[DIFFUSERS.name].unused
        readers[DIFFUSERS.name] = proof_of(case, DIFFUSERS.name, in_diffusers.modules, loaded, how=how, unused=unused)
        if base and all(isinstance(delta, LoRA) for delta in loaded.values()):
            trained = _promised_part(adapter, in_diffusers)
            output_error, output_error_fp32 = output_errors(base, Adapter(loaded), trained)
            _check_output(file, output_error, OUTPUT_BOUND[base.dtype])
    return Proof(
        file=str(file),
        bytes=weights.stat().st_size,
        sha256=weights_digest(file),
        dialect=dialect,
        readers=tuple(readers.values()),
        gaps=tuple(gaps(dialect, adapter)),
        output_error=output_error,
        output_error_fp32=output_error_fp32,
    )


def _weightless_if_it_fits(adapter: Adapter) -> LoadedBase | None:
    """A family's transformer without weights, if the adapter has LoRAs and all are of its shapes."""
    shapes = {name: delta.shape for name, delta in adapter.deltas.items() if isinstance(delta, LoRA)}
    for family in FAMILIES:
        released = family.linear_shapes()
        if shapes and all(released.get(name) == shape for name, shape in shapes.items()):
            return LoadedBase(family=family, transformer=family.weightless_transformer())
    return None


def _check_fit(adapter: Adapter, shapes: Shapes) -> None:
    for name, delta in adapter.deltas.items():
        if isinstance(delta, LoRA) and delta.shape != shapes[name]:
            (outputs, inputs), base = delta.shape, shapes[name]
            raise AdapterFileError(
                f"the adapter changes {name} ({outputs} x {inputs}), but this base has {base[0]} x {base[1]} there",
                fix="give the base that the adapter was trained on",
            )


def _check_output(file: Path, error: float, bound: float) -> None:
    if not error <= bound:
        raise AdapterFileError(
            f"{file} answers {error:.2%} differently in diffusers from the adapter that was read out of it",
            fix=WRITE_AGAIN,
        )


def _promised_part(adapter: Adapter, promise: ExpectedSupport) -> Adapter:
    return Adapter({name: delta for name, delta in adapter.deltas.items() if re.fullmatch(promise.modules, name)})
