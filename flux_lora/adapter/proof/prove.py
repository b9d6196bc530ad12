"""Prove a written file: every program that it is for reads all of it, as it was trained.

diffusers, ComfyUI and sd-scripts are quiet about keys they do not use: the user sees a weak LoRA, or
none. So every export ends here. Nothing is deleted where a proof fails; the module or key is named.
"""

import re
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel

from flux_lora.adapter.attach import detach
from flux_lora.adapter.files import read_adapter, read_tensors
from flux_lora.adapter.header import read_header
from flux_lora.adapter.kinds import LoRA
from flux_lora.adapter.layouts.peft import WEIGHTS
from flux_lora.adapter.proof.checks import (
    WRITE_AGAIN,
    Case,
    ReaderProof,
    check_finite,
    check_not_empty,
    proof_of,
    read_by_table,
)
from flux_lora.adapter.proof.loading import LoadedBase, load, output_errors, shapes_of, weightless
from flux_lora.adapter.proof.promises import EVERYTHING, ExpectedSupport, expected_loaders, gaps
from flux_lora.adapter.readers.architecture import WIDTH, Shapes, flux1_shapes
from flux_lora.adapter.readers.diffusers import DIFFUSERS
from flux_lora.adapter.tensors import Adapter
from flux_lora.errors import AdapterFileError

OUTPUT_BOUND = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 1e-2}
"""How far two computations of one adapter may differ in the base's dtype, relative to the adapter's effect."""
LOADED, LOADED_BARE, READ_BACK = "loaded", "loaded, without the base's weights", "read back by this package"
FIXED_WIDTHS = r"single_transformer_blocks\.\d+\.(attn\.to_[qkv]|proj_mlp)"
"""diffusers takes these out of native names at FLUX.1's own widths only."""
OURSELVES = "flux_lora"


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was seen when the file was read back."""

    file: str
    bytes: int
    sha256: str
    dialect: str
    readers: tuple[ReaderProof, ...]
    gaps: tuple[str, ...]
    """Programs of this dialect that leave something out, by what is known of them."""
    output_error: float | None
    """The transformer's answer with the file against that with what was read, relative to the adapter's effect.
    None where no base was there to answer."""
    output_error_fp32: float | None
    """The same against the trained adapter itself: what rounding to the file's dtype costs."""

    @property
    def worst(self) -> ReaderProof:
        """The program with the largest error."""
        return max(self.readers, key=lambda each: each.worst_error)


def prove(file: Path, adapter: Adapter, *, dialect: str = "diffusers", base: LoadedBase | None = None) -> Proof:
    """Reopen the file, read it as each program that the dialect is for, and compare with the trained adapter.

    diffusers loads it for real: into the base, else into FLUX.1 without weights if the adapter is of its shapes.
    """
    weights = file / WEIGHTS if file.is_dir() else file
    case = Case(weights, read_tensors(weights), read_header(weights).metadata, adapter)
    check_not_empty(adapter)
    check_finite(case)
    transformer = base.transformer if base else _weightless_if_it_fits(adapter)
    if transformer is not None:
        detach(transformer)
    shapes = flux1_shapes() if transformer is None else shapes_of(transformer)
    promises = expected_loaders(dialect, adapter)
    readers = {each.reader.name: read_by_table(case, each, shapes) for each in promises}
    if not readers:
        readers = {OURSELVES: proof_of(case, OURSELVES, EVERYTHING, read_adapter(file).deltas, how=READ_BACK)}
    chosen = next((each for each in promises if each.reader is DIFFUSERS), None)
    same = exact = None
    if chosen and transformer is not None and _loadable(dialect, adapter, shapes):
        _check_fit(adapter, shapes)
        loaded = load(file, transformer)
        how, unused = LOADED if base else LOADED_BARE, readers[DIFFUSERS.name].unused
        readers[DIFFUSERS.name] = proof_of(case, DIFFUSERS.name, chosen.modules, loaded, how=how, unused=unused)
        if base and all(isinstance(change, LoRA) for change in loaded.values()):
            same, exact = output_errors(transformer, Adapter(loaded), _part(adapter, chosen))
            _check_output(file, same, OUTPUT_BOUND[base.dtype])
    with weights.open("rb") as opened:
        digest = file_digest(opened, "sha256").hexdigest()
    return Proof(
        file=str(file),
        bytes=weights.stat().st_size,
        sha256=digest,
        dialect=dialect,
        readers=tuple(readers.values()),
        gaps=tuple(gaps(dialect, adapter)),
        output_error=same,
        output_error_fp32=exact,
    )


def _weightless_if_it_fits(adapter: Adapter) -> FluxTransformer2DModel | None:
    known = flux1_shapes()
    shapes = {name: change.shape for name, change in adapter.deltas.items() if isinstance(change, LoRA)}
    return weightless() if shapes and all(known.get(name) == shape for name, shape in shapes.items()) else None


def _loadable(dialect: str, adapter: Adapter, shapes: Shapes) -> bool:
    """Whether diffusers itself can be asked here: the text encoders are not at hand."""
    inside = [name for name in adapter.deltas if name in shapes]
    fixed = dialect != "diffusers" and any(re.fullmatch(FIXED_WIDTHS, name) for name in inside)
    return len(inside) == len(adapter.deltas) and (not fixed or WIDTH in shapes["x_embedder"])


def _check_fit(adapter: Adapter, shapes: Shapes) -> None:
    for name, change in adapter.deltas.items():
        if isinstance(change, LoRA) and change.shape != shapes[name]:
            (has, wide), (outputs, inputs) = shapes[name], change.shape
            raise AdapterFileError(
                f"the adapter changes {name} ({outputs} x {inputs}), but this base has {has} x {wide} there",
                fix="give the base that the adapter was trained on",
            )


def _check_output(file: Path, error: float, bound: float) -> None:
    if not error <= bound:
        raise AdapterFileError(
            f"{file} answers {error:.2%} differently in diffusers from the adapter that was read out of it",
            fix=WRITE_AGAIN,
        )


def _part(adapter: Adapter, promise: ExpectedSupport) -> Adapter:
    return Adapter({name: each for name, each in adapter.deltas.items() if re.fullmatch(promise.modules, name)})
