"""One program's reading of a file, checked against what was trained: keys, modules, numbers."""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from flux_lora.adapter.kinds import LayerDelta, LoRA
from flux_lora.adapter.proof.comparison import DELTA_BOUND, changes_nothing, deviation, explain_deviation
from flux_lora.adapter.proof.promises import EVERYTHING, ExpectedSupport
from flux_lora.adapter.readers.architecture import flux1_shapes, fused_weights
from flux_lora.adapter.tensors import Adapter, frobenius_norm
from flux_lora.errors import AdapterFileError

WRITE_AGAIN = "write it again; if it stays, report it with this message: the file would disappoint its users"
MORE_DIGITS = (
    "numbers this small are rounded away in 16 bits: write fp32 with dtype=fp32, or export.dtype=fp32 in an export"
)
EARLIER = "take an earlier checkpoint, or fetch the file again"
NEAR = 5
"""Bounds away: more than that is no rounding."""
BY_TABLE = "by its key table"


@dataclass(frozen=True)
class Case:
    """A file and what it has to be."""

    file: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    adapter: Adapter

    @property
    def bound(self) -> float:
        """How far rounding to the file's dtype may move a module."""
        dtypes = {tensor.dtype for key, tensor in self.tensors.items() if not key.endswith(".alpha")}
        return max((DELTA_BOUND.get(dtype, 0.0) for dtype in dtypes), default=0.0)


@dataclass(frozen=True, kw_only=True)
class ReaderProof:
    """What one program makes of the file."""

    reader: str
    keys: int
    unused: int
    """0, or what lies in modules that the program is known to leave out of this dialect."""
    modules: int
    missing: int
    worst_error: float
    """Largest relative error of one module's change, against the trained float32 adapter."""
    worst_module: str
    how: str
    """Whether the program itself loaded the file, or its rules were followed."""


def check_not_empty(adapter: Adapter) -> None:
    """Stop at an adapter that is not worth a file."""
    sizes = {name: frobenius_norm(change) for name, change in adapter.deltas.items() if isinstance(change, LoRA)}
    endless = [name for name, each in sizes.items() if not math.isfinite(each)]
    if endless:
        raise AdapterFileError(
            f"{endless[0]} holds numbers that are not finite ({len(endless)} such module(s))", fix=EARLIER
        )
    if len(sizes) == len(adapter.deltas) and not any(sizes.values()):
        raise AdapterFileError(
            "the adapter changes nothing: it has not learned yet", fix="train it for more steps, or give another file"
        )
    flux1 = flux1_shapes()
    strange = sorted(set(adapter.deltas) - set(flux1) - set(fused_weights(flux1)))
    strange = [name for name in strange if not name.startswith("text_encoder")]
    if strange:
        raise AdapterFileError(
            f"FLUX.1 has no {strange[0]} ({len(strange)} such module(s))",
            fix="give a LoRA for FLUX.1; Qwen-Image has 60 blocks of the same names",
        )


def check_finite(case: Case) -> None:
    """Stop at numbers that no program can use."""
    broken = [key for key, tensor in case.tensors.items() if not bool(tensor.isfinite().all())]
    if broken:
        raise AdapterFileError(
            f"{case.file} holds numbers that are not finite in {len(broken)} tensor(s), first {broken[0]}",
            fix=f"fp16 ends at 65504: write bf16; else {EARLIER}",
        )


def read_by_table(case: Case, promise: ExpectedSupport, names: Collection[str]) -> ReaderProof:
    """The file through a program's own rules."""
    program = promise.reader.name
    consumed = promise.reader.load(case.tensors, case.metadata, names)
    if consumed.stopped or consumed.wrong:
        raise AdapterFileError(f"{program} {consumed.stopped or consumed.wrong}", fix=WRITE_AGAIN)
    if consumed.unused and promise.modules == EVERYTHING:
        raise AdapterFileError(
            f"{program} does not use {len(consumed.unused)} key(s) of the file, first {consumed.unused[0]}",
            fix=WRITE_AGAIN,
        )
    return proof_of(case, program, promise.modules, consumed.deltas, how=BY_TABLE, unused=len(consumed.unused))


def proof_of(
    case: Case, program: str, modules: str, taken: Mapping[str, LayerDelta], *, how: str, unused: int = 0
) -> ReaderProof:
    """What a program took of the file, module by module; raises naming the first that is not as trained.

    Where q and v share a matrix with a k that was not trained, every program finds a k of nothing.
    """
    trained = case.adapter.deltas
    taken = {name: change for name, change in taken.items() if not changes_nothing(change)}
    wanted = [name for name in trained if re.fullmatch(modules, name) and not changes_nothing(trained[name])]
    missing = sorted(set(wanted) - set(taken))
    strange = sorted(set(taken) - set(trained))
    for what, names in (
        (f"{program} did not load {len(missing)} trained layer(s)", missing),
        (f"{program} finds {len(strange)} layer(s) in the file that were not trained", strange),
    ):
        if names:
            raise AdapterFileError(f"{what}, first {names[0]}", fix=WRITE_AGAIN)
    errors = {name: deviation(taken[name], trained[name]) for name in wanted}
    off = [name for name, error in errors.items() if not error <= case.bound]
    if off:
        raise AdapterFileError(
            f"in {program}, {explain_deviation(off[0], taken[off[0]], trained, case.bound)} ({len(off)} such layer(s))",
            fix=MORE_DIGITS if errors[off[0]] < NEAR * case.bound else WRITE_AGAIN,
        )
    worst = max(errors, key=lambda name: errors[name])
    return ReaderProof(
        reader=program,
        keys=len(case.tensors),
        unused=unused,
        modules=len(wanted),
        missing=0,
        worst_error=errors[worst],
        worst_module=worst,
        how=how,
    )
