"""How far a change that was read back is from the one that was trained, and what went wrong if it is far."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from flux_lora.adapter.kinds import OFT, DoRA, LayerDelta, LoHa, LoKr, LoRA
from flux_lora.adapter.nearest import as_lora
from flux_lora.adapter.readers.landing import on_rows, swap_row_halves
from flux_lora.adapter.tensors import delta_distance, frobenius_norm

DELTA_BOUND = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}
"""How far rounding to the file's dtype may move one module's change, relative to it."""


def deviation(taken: LayerDelta, trained: LayerDelta) -> float:
    """The distance of the two, relative to what was trained. Infinite where they cannot be compared or are not finite.

    A module that learned nothing has to be nothing in the file too.
    """
    match taken, trained:
        case LoRA(), LoRA():
            return _relative(taken, trained)
        case LoHa(), LoHa():
            one, other = as_lora(taken), as_lora(trained)
            assert one is not None and other is not None, "a LoHa is a LoRA of more rank"
            return _relative(one, other)
        case LoKr(), LoKr():
            return _kronecker(taken, trained)
        case DoRA(), DoRA():
            magnitudes = _apart(taken.magnitude, trained.magnitude)
            sides = taken.per_input == trained.per_input
            return max(_relative(taken.lora, trained.lora), magnitudes) if sides else math.inf
        case OFT(), OFT():
            limits = 0.0 if math.isclose(taken.constraint, trained.constraint, rel_tol=1e-2) else math.inf
            return max(_apart(taken.blocks, trained.blocks), _apart(taken.rescale, trained.rescale), limits)
        case _:
            return math.inf


def changes_nothing(change: LayerDelta) -> bool:
    """Whether it is a plain LoRA of nothing, as the gaps in a fused matrix are."""
    return isinstance(change, LoRA) and not bool(change.up.any())


def explain_deviation(name: str, taken: LayerDelta, trained: Mapping[str, LayerDelta], bound: float) -> str:
    """What is wrong with a module that is not what was trained, as exactly as can be told."""
    if not isinstance(taken, LoRA) or not isinstance(trained[name], LoRA):
        return f"{name} in the file is not what was trained"
    meant = trained[name]
    assert isinstance(meant, LoRA), "just seen"
    if not math.isfinite(frobenius_norm(taken)):
        return f"{name} in the file holds numbers that are not finite"
    if _same_shape(taken, meant):
        exchanged = on_rows(taken, swap_row_halves)
        if taken.up.shape[0] % 2 == 0 and deviation(exchanged, meant) <= bound:
            return f"{name} in the file has its two halves exchanged (scale and shift)"
        ratio = _strength(taken, meant)
        if _relative(taken, LoRA(meant.down, meant.up, meant.alpha * ratio)) <= bound:
            return _of_strength(name, ratio, meant)
    others = (other for other, layer in trained.items() if other != name and deviation(taken, layer) <= bound)
    other = next(others, "")
    if other:
        return f"{name} in the file holds what was trained for {other}"
    return f"{name} in the file is {deviation(taken, meant):.2%} off what was trained, more than rounding explains"


def _of_strength(name: str, ratio: float, meant: LoRA) -> str:
    if meant.scale != 1.0 and math.isclose(ratio * meant.scale, 1.0, rel_tol=1e-2):
        return f"{name} in the file lost its scale alpha / rank = {meant.scale:g}: it acts at {ratio:.4g} times"
    return f"{name} in the file acts at {ratio:.4g} times the trained strength: its alpha is wrong, or was folded twice"


def _relative(taken: LoRA, trained: LoRA) -> float:
    if not _same_shape(taken, trained):
        return math.inf
    away = delta_distance(taken, trained)
    away = away / (frobenius_norm(trained) or 1.0) if away else 0.0
    return away if math.isfinite(away) else math.inf


def _same_shape(one: LoRA, other: LoRA) -> bool:
    return one.shape == other.shape


def _strength(taken: LoRA, meant: LoRA) -> float:
    """How many times the trained change is in the one that was taken: <taken, meant> / <meant, meant>."""
    product = (taken.up.double().T @ meant.up.double()) * (taken.down.double() @ meant.down.double().T)
    return (product.sum() * taken.scale * meant.scale).item() / (frobenius_norm(meant) ** 2 or 1.0)


def _kronecker(taken: LoKr, trained: LoKr) -> float:
    """|kron(A, B) - kron(C, D)|^2 = |A|^2 |B|^2 + |C|^2 |D|^2 - 2 <A, C> <B, D>, in float64."""
    (a, b), (c, d) = _factors(taken), _factors(trained)
    if a.shape != c.shape or b.shape != d.shape:
        return math.inf
    squared = (c.norm() * d.norm()).square()
    apart = (a.norm() * b.norm()).square() + squared - 2 * (a * c).sum() * (b * d).sum()
    away = (apart.clamp(min=0) / (squared or 1.0)).sqrt().item()
    return away if math.isfinite(away) else math.inf


def _factors(change: LoKr) -> tuple[Tensor, Tensor]:
    def whole(tensor: Tensor | None, left: Tensor | None, right: Tensor | None) -> Tensor:
        if tensor is not None:
            return tensor.double()
        assert left is not None and right is not None, "a factor is whole or a product"
        return left.double() @ right.double()

    return change.scale * whole(change.w1, change.w1_a, change.w1_b), whole(change.w2, change.w2_a, change.w2_b)


def _apart(one: Tensor | None, other: Tensor | None) -> float:
    if one is None or other is None:
        return 0.0 if one is other else math.inf
    if one.shape != other.shape:
        return math.inf
    away = (one.double() - other.double()).norm().item() / (other.double().norm().item() or 1.0)
    return away if math.isfinite(away) else math.inf
