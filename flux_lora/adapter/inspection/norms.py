"""How much a change changes, without ever building it.

Shape letters: R rank, I inputs and O outputs of a linear layer.
"""

import torch
from torch import Tensor

from flux_lora.adapter.kinds import DoRA, LayerDelta, LoHa, LoKr, LoRA
from flux_lora.adapter.nearest import as_lora
from flux_lora.errors import AdapterFileError

LARGEST_LAYER = 2**28
"""Weights in one layer. FLUX.1's largest has a quarter of that; a stranger's file may claim any number."""
ROWS = 512
LOW_RANK = 8
LONGEST_SIDES = 2**16
"""Of a layer, both together: up to these a LoHa is quicker told as a LoRA of the squared rank."""


def norm_of(change: LayerDelta) -> float | None:
    """Frobenius norm of what is added to the weight; None where that depends on the weight (DoRA, OFT)."""
    match change:
        case LoRA():
            return abs(change.scale) * _product(change.up, change.down)
        case LoKr():
            one, other = _factor(change.w1, change.w1_a, change.w1_b), _factor(change.w2, change.w2_a, change.w2_b)
            return abs(change.scale) * one * other
        case LoHa():
            return abs(change.scale) * _hadamard(change)
    return None


def without_magnitude(change: LayerDelta) -> LayerDelta:
    """Of a DoRA the LoRA in it, of others the whole."""
    return change.lora if isinstance(change, DoRA) else change


def _product(up_OR: Tensor, down_RI: Tensor) -> float:
    """|up down|^2 = trace(up' up  down down'), or of the product itself where the rank is the larger side."""
    up, down = up_OR.double(), down_RI.double()
    if up.shape[1] ** 2 > up.shape[0] * down.shape[1]:
        return (up @ down).norm().item()
    square = ((up.T @ up) * (down @ down.T)).sum().item()
    return max(square, 0.0) ** 0.5 if square == square else square


def _factor(whole: Tensor | None, a: Tensor | None, b: Tensor | None) -> float:
    if whole is not None:
        return whole.double().norm().item()
    assert a is not None and b is not None, "a factor is whole or a product"
    return _product(a, b)


def _hadamard(change: LoHa) -> float:
    """As the LoRA of the squared rank where that is low; else a few rows at a time, as the layer as a whole may be
    larger than memory."""
    outputs, inputs = change.w1_a.shape[0], change.w1_b.shape[1]
    if outputs * inputs > LARGEST_LAYER:
        raise AdapterFileError(
            f"a layer of {outputs} x {inputs} weights, and FLUX has none that large",
            fix="ask where the file comes from; it is no LoRA of FLUX",
        )
    product = as_lora(change) if change.rank <= LOW_RANK and outputs + inputs <= LONGEST_SIDES else None
    if product is not None:
        return _product(product.up, product.down)
    rows = zip(change.w1_a.split(ROWS), change.w2_a.split(ROWS), strict=True)
    parts = [((one.float() @ change.w1_b.float()) * (two.float() @ change.w2_b.float())).norm() for one, two in rows]
    return torch.stack(parts).double().norm().item()
