"""Check what one program loads of a file against the trained adapter: keys, modules, numbers.

Shape letters: R rank, I inputs and O outputs of the linear layer.
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from flux_lora.adapter.dialects.keys import EVERYTHING
from flux_lora.adapter.layer_types import (
    OFT,
    Adapter,
    DoRA,
    LayerDelta,
    LoHa,
    LoKr,
    LoRA,
    all_finite,
    changes_nothing,
    delta_distance,
    frobenius_norm,
)
from flux_lora.adapter.loaders.keys import on_rows, swap_row_halves
from flux_lora.adapter.low_rank import as_lora
from flux_lora.adapter.proof.expected_support import ExpectedSupport
from flux_lora.errors import AdapterFileError
from flux_lora.models.family import ModelFamily
from flux_lora.models.registry import FAMILIES, family_with

DELTA_BOUND = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
"""How far rounding to the file's dtype may move one module's delta, relative to the delta's norm."""
OF_THE_CHANGE = 1000.0
"""How much more a magnitude's error counts: it is a share of the weight, of which the change may be a thousandth."""


def deviation(loaded: LayerDelta, trained: LayerDelta) -> float:
    """The distance of the two, relative to the trained. Infinite where they cannot be compared or are not finite.

    A module whose trained delta is zero has to be zero in the file too.
    """
    match loaded, trained:
        case LoRA(), LoRA():
            return _lora_distance(loaded, trained)
        case LoHa(), LoHa():
            loaded_lora, trained_lora = as_lora(loaded), as_lora(trained)
            assert loaded_lora is not None and trained_lora is not None, "a LoHa is a LoRA of more rank"
            return _lora_distance(loaded_lora, trained_lora)
        case LoKr(), LoKr():
            return _lokr_distance(loaded, trained)
        case DoRA(), DoRA():
            magnitudes = OF_THE_CHANGE * _tensor_distance(loaded.magnitude, trained.magnitude)
            same_axis = loaded.per_input == trained.per_input
            return max(_lora_distance(loaded.lora, trained.lora), magnitudes) if same_axis else math.inf
        case OFT(), OFT():
            rescales = OF_THE_CHANGE * _tensor_distance(loaded.rescale, trained.rescale)
            return max(_tensor_distance(loaded.blocks, trained.blocks), rescales)
        case _:
            return math.inf


def explain_deviation(name: str, loaded: LayerDelta, trained: Mapping[str, LayerDelta], bound: float) -> str:
    """What is wrong with a module that is not as trained: swapped halves, scale, another module, or how far off."""
    expected = trained[name]
    if not isinstance(loaded, LoRA) or not isinstance(expected, LoRA):
        return f"{name} in the file is not what was trained"
    if not math.isfinite(frobenius_norm(loaded)):
        return f"{name} in the file holds numbers that are not finite"
    if loaded.shape == expected.shape:
        swapped = on_rows(loaded, swap_row_halves)
        if loaded.up.shape[0] % 2 == 0 and deviation(swapped, expected) <= bound:
            return f"{name} in the file has its two halves exchanged (scale and shift)"
        ratio = _strength(loaded, expected)
        if _lora_distance(loaded, LoRA(expected.down, expected.up, expected.alpha * ratio)) <= bound:
            return _explain_strength(name, ratio, expected)
    others = (other for other, layer in trained.items() if other != name and deviation(loaded, layer) <= bound)
    other = next(others, "")
    if other:
        return f"{name} in the file holds what was trained for {other}"
    return f"{name} in the file is {deviation(loaded, expected):.2%} off what was trained, more than rounding explains"


def _explain_strength(name: str, ratio: float, trained: LoRA) -> str:
    if trained.scale != 1.0 and math.isclose(ratio * trained.scale, 1.0, rel_tol=1e-2):
        return f"{name} in the file lost its scale alpha / rank = {trained.scale:g}: it acts at {ratio:.4g} times"
    return f"{name} in the file acts at {ratio:.4g} times the trained strength: its alpha is wrong, or was folded twice"


def _strength(loaded: LoRA, trained: LoRA) -> float:
    """The factor of the trained delta in the loaded one: <loaded, trained> / <trained, trained>."""
    product_RR = (loaded.up.double().T @ trained.up.double()) * (loaded.down.double() @ trained.down.double().T)
    return (product_RR.sum() * loaded.scale * trained.scale).item() / (frobenius_norm(trained) ** 2 or 1.0)


def _lora_distance(loaded: LoRA, trained: LoRA) -> float:
    if loaded.shape != trained.shape:
        return math.inf
    distance = delta_distance(loaded, trained)
    return _finite_or_inf(distance / (frobenius_norm(trained) or 1.0) if distance else 0.0)


def _lokr_distance(loaded: LoKr, trained: LoKr) -> float:
    """|kron(A, B) - kron(C, D)|^2 = |A|^2 |B|^2 + |C|^2 |D|^2 - 2 <A, C> <B, D>, in float64."""
    (a, b), (c, d) = _scaled_factors(loaded), _scaled_factors(trained)
    if a.shape != c.shape or b.shape != d.shape:
        return math.inf
    trained_squared = (c.norm() * d.norm()).square()
    squared = (a.norm() * b.norm()).square() + trained_squared - 2 * (a * c).sum() * (b * d).sum()
    return _finite_or_inf((squared.clamp(min=0) / (trained_squared or 1.0)).sqrt().item())


def _scaled_factors(delta: LoKr) -> tuple[Tensor, Tensor]:
    """scale * w1 and w2 as matrices in float64."""

    def factor(matrix: Tensor | None, a: Tensor | None, b: Tensor | None) -> Tensor:
        if matrix is not None:
            return matrix.double()
        assert a is not None and b is not None, "a factor is a matrix or a product"
        return a.double() @ b.double()

    return delta.scale * factor(delta.w1, delta.w1_a, delta.w1_b), factor(delta.w2, delta.w2_a, delta.w2_b)


def _tensor_distance(loaded: Tensor | None, trained: Tensor | None) -> float:
    """Of two tensors of any one shape, relative to the trained; infinite where shapes differ or one is missing."""
    if loaded is None or trained is None:
        return 0.0 if loaded is trained else math.inf
    if loaded.shape != trained.shape:
        return math.inf
    distance = (loaded.double() - trained.double()).norm().item()
    return _finite_or_inf(distance / (trained.double().norm().item() or 1.0))


def _finite_or_inf(distance: float) -> float:
    """NaN becomes infinite, so that it exceeds every bound."""
    return distance if math.isfinite(distance) else math.inf


def _small_numbers(name: str, loaded: LayerDelta, error: float) -> str:
    """The reason, where a factor in the file has hardly a number that fp16 holds with all of its digits; else empty."""
    if not isinstance(loaded, LoRA):
        return ""
    smallest = SMALL_IN_FP16 * torch.finfo(torch.float16).tiny
    small = [side for side in (loaded.down, loaded.up) if side.dtype is torch.float16 and side.abs().max() < smallest]
    return f"{name} is {error:.1%} off what was given: its numbers are {TOO_SMALL}" if small else ""


WRITE_AGAIN = "write it again; if it stays, report it with this message: the file would disappoint its users"
MORE_DIGITS = (
    "numbers this small are rounded away in 16 bits: write fp32 with dtype=fp32, or export.dtype=fp32 in an export"
)
EARLIER = "take an earlier checkpoint, or fetch the file again"
TOO_SMALL = "smaller than the file's dtype can hold"
SMALL_IN_FP16 = 16
"""Times its smallest normal number: where no number of a factor is larger, most have lost digits."""
NEAR = 5
"""Times the bound: a larger error does not come from rounding to 16 bits."""
BY_TABLE = "by its key table"


@dataclass(frozen=True)
class Case:
    """A file, and the trained adapter that it has to hold."""

    file: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    adapter: Adapter
    measured: dict[tuple[object, ...], tuple[float, LayerDelta]] = field(default_factory=dict)
    """Deviations of LoRAs that share the file's memory, which most programs leave as it is; the deltas keep it."""

    def deviation(self, name: str, loaded: LayerDelta) -> float:
        """Of what a program loaded for this module from what was trained."""
        if not isinstance(loaded, LoRA):
            return deviation(loaded, self.adapter.deltas[name])
        place = (
            name,
            loaded.alpha,
            *(key for side in (loaded.down, loaded.up) for key in (side.data_ptr(), side.shape)),
        )
        if place not in self.measured:
            self.measured[place] = (deviation(loaded, self.adapter.deltas[name]), loaded)
        return self.measured[place][0]

    @property
    def bound(self) -> float:
        """How far rounding to the file's dtype may move a module, relative to its delta."""
        dtypes = {tensor.dtype for key, tensor in self.tensors.items() if not key.endswith(".alpha")}
        return max((DELTA_BOUND.get(dtype, 0.0) for dtype in dtypes), default=0.0)


@dataclass(frozen=True, kw_only=True)
class ReaderProof:
    """What one program loads of the file."""

    reader: str
    keys: int
    unused: int
    """0, or what lies in modules that the program is known to leave out of this dialect."""
    modules: int
    missing: int
    worst_error: float
    """Largest relative error of one module's delta, against the trained float32 adapter."""
    worst_module: str
    how: str
    """Whether the program itself loaded the file, or its rules were followed."""


def check_not_empty(adapter: Adapter) -> None:
    """Refuse an adapter that is not finite or is zero."""
    loras = {name: delta for name, delta in adapter.deltas.items() if isinstance(delta, LoRA)}
    infinite = [name for name, each in loras.items() if not (all_finite(each.down) and all_finite(each.up))]
    if infinite:
        raise AdapterFileError(
            f"{infinite[0]} holds numbers that are not finite ({len(infinite)} such module(s))", fix=EARLIER
        )
    if len(loras) == len(adapter.deltas) and not any(frobenius_norm(layer) for layer in loras.values()):
        raise AdapterFileError(
            "the adapter changes nothing: it has not learned yet", fix="train it for more steps, or give another file"
        )


def check_known_modules(adapter: Adapter, families: Sequence[ModelFamily] = FAMILIES) -> None:
    """Refuse an adapter with modules that no one of the families has all of; text encoders' are not asked about."""
    names = {name for name in adapter.deltas if not name.startswith("text_encoder")}
    nearest = family_with(names, families)
    unknown = sorted(names - set(nearest.adapted_modules()))
    if unknown:
        raise AdapterFileError(
            f"{nearest.name} has no {unknown[0]} ({len(unknown)} such module(s))",
            fix=f"give a LoRA for {nearest.name}; Qwen-Image has 60 blocks of the same names",
        )


def check_finite(case: Case) -> None:
    """Refuse a file with NaN or infinity in it."""
    broken = [key for key, tensor in case.tensors.items() if not all_finite(tensor)]
    if broken:
        raise AdapterFileError(
            f"{case.file} holds numbers that are not finite in {len(broken)} tensor(s), first {broken[0]}",
            fix=f"fp16 ends at 65504: write bf16; else {EARLIER}",
        )


def read_by_table(case: Case, support: ExpectedSupport, names: Collection[str]) -> ReaderProof:
    """Check the file by the program's simulated loader. `names`: the base's linear layers, by diffusers' name."""
    program = support.reader.name
    result = support.reader.load(case.tensors, case.metadata, names)
    if result.stopped or result.wrong:
        raise AdapterFileError(f"{program} {result.stopped or result.wrong}", fix=WRITE_AGAIN)
    if result.unused and support.modules == EVERYTHING:
        raise AdapterFileError(
            f"{program} does not use {len(result.unused)} key(s) of the file, first {result.unused[0]}",
            fix=WRITE_AGAIN,
        )
    return proof_of(case, program, support.modules, result.deltas, how=BY_TABLE, unused=len(result.unused))


def proof_of(
    case: Case, program: str, modules: str, loaded: Mapping[str, LayerDelta], *, how: str, unused: int = 0
) -> ReaderProof:
    """Compare what a program loaded with the trained adapter; an AdapterFileError names the first layer that differs.

    `modules` is the pattern of the names that the program has to load. Layers with a zero delta are ignored: where q
    and v share a matrix with a k that was not trained, every program finds a zero k.
    """
    trained = case.adapter.deltas
    nothing = {name for name, delta in loaded.items() if changes_nothing(delta)}
    loaded = {name: delta for name, delta in loaded.items() if name not in nothing}
    expected = [name for name in trained if re.fullmatch(modules, name) and not changes_nothing(trained[name])]
    missing = sorted(set(expected) - set(loaded))
    untrained = sorted(set(loaded) - set(trained))
    vanished = [name for name in missing if name in nothing]
    if vanished:
        raise AdapterFileError(
            f"in {program}, {vanished[0]} is nothing: its numbers are {TOO_SMALL} ({len(vanished)} such layer(s))",
            fix=MORE_DIGITS,
        )
    for problem, names in (
        (f"{program} did not load {len(missing)} trained layer(s)", missing),
        (f"{program} finds {len(untrained)} layer(s) in the file that were not trained", untrained),
    ):
        if names:
            raise AdapterFileError(f"{problem}, first {names[0]}", fix=WRITE_AGAIN)
    errors = {name: case.deviation(name, loaded[name]) for name in expected}
    off = [name for name, error in errors.items() if not error <= case.bound]
    if off:
        rounded_away = _small_numbers(off[0], loaded[off[0]], errors[off[0]])
        reason = rounded_away or explain_deviation(off[0], loaded[off[0]], trained, case.bound)
        raise AdapterFileError(
            f"in {program}, {reason} ({len(off)} such layer(s))",
            fix=MORE_DIGITS if rounded_away or errors[off[0]] < NEAR * case.bound else WRITE_AGAIN,
        )
    worst = max(errors, key=lambda name: errors[name])
    return ReaderProof(
        reader=program,
        keys=len(case.tensors),
        unused=unused,
        modules=len(expected),
        missing=0,
        worst_error=errors[worst],
        worst_module=worst,
        how=how,
    )
