"""Singular value decompositions of low-rank products, matrices and Kronecker products, and the nearest LoRA of a rank.

Shape letters: R rank, I inputs and O outputs of the linear layer, K singular values, largest first. The factors of a
Kronecker product are O1 x I1 and O2 x I2, where O1 * O2 = O and I1 * I2 = I.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from flux_lora.adapter.layer_types import LayerDelta, LoHa, LoKr, LoRA, all_finite, delta_of
from flux_lora.errors import AdapterFileError

EXACT_SIDE = 1024
"""A matrix whose smaller side is at most this is decomposed exactly, in seconds on a CPU."""
OVERSAMPLING = 16
LARGEST_LAYER = 2**28
"""Weights in one layer. FLUX.1's largest has a quarter of that; an untrusted file may claim any number."""
ITERATIONS = 8
"""Of subspace iteration on larger matrices: what is lost against the exact SVD is far below 0.1 % of the error."""


@dataclass(frozen=True)
class Spectrum:
    """left @ diag(values) @ right, with orthonormal columns in `left` and rows in `right`; float64."""

    left: Tensor  # OK
    values: Tensor  # K
    right: Tensor  # KI


def of_product(up: Tensor, down: Tensor) -> Spectrum:
    """The SVD of up (OR) @ down (RI), through the QR of both: OI is never built.

    up = Qu Ru, down' = Qd Rd, so up down = Qu (Ru Rd') Qd', and only Ru Rd' needs an SVD.
    """
    _check_finite(up, down)
    left_q, left_r = torch.linalg.qr(up.double())
    right_q, right_r = torch.linalg.qr(down.double().T)
    left, values, right = torch.linalg.svd(left_r @ right_r.T, full_matrices=False)
    return Spectrum(left_q @ left, values, right @ right_q.T)


def of_matrix(matrix_OI: Tensor, count: int) -> Spectrum:
    """The largest `count` singular values and vectors. A large matrix takes randomised subspace iteration
    (Halko et al. 2011) from a fixed start."""
    _check_finite(matrix_OI)
    if min(matrix_OI.shape) <= EXACT_SIDE:
        left, values, right = torch.linalg.svd(matrix_OI.double(), full_matrices=False)
        return Spectrum(left[:, :count], values[:count], right[:count])
    width = min(count + OVERSAMPLING, *matrix_OI.shape)
    start = torch.randn(matrix_OI.shape[1], width, generator=Generator().manual_seed(0))
    matrix_OI = matrix_OI.float()
    basis = torch.linalg.qr(matrix_OI @ start.to(matrix_OI))[0]  # O x width
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(matrix_OI @ torch.linalg.qr(matrix_OI.T @ basis)[0])[0]
    left, values, right = torch.linalg.svd((basis.T @ matrix_OI).double(), full_matrices=False)
    return Spectrum((basis.double() @ left)[:, :count], values[:count], right[:count])


def of_kronecker(w1: Tensor, w2: Tensor, count: int) -> Spectrum:
    """All singular values of kron(w1, w2), and the vectors of the largest `count`: OI is never built.

    The values are the products of the factors' values, the vectors the Kronecker products of their vectors.
    """
    _check_finite(w1, w2)
    (left_1, values_1, right_1), (left_2, values_2, right_2) = (
        torch.linalg.svd(factor.double(), full_matrices=False) for factor in (w1, w2)
    )
    values, order = torch.outer(values_1, values_2).flatten().sort(descending=True, stable=True)
    first, second = order[:count] // len(values_2), order[:count] % len(values_2)
    left = (left_1[:, None, first] * left_2[None, :, second]).flatten(0, 1)
    right = (right_1[first, :, None] * right_2[second, None, :]).flatten(1, 2)
    return Spectrum(left, values, right)


def refuse_large(*shapes: Sequence[int]) -> None:
    """AdapterFileError where the Kronecker product of matrices of these shapes is larger than any layer of FLUX."""
    outputs, inputs = (prod(sides) for sides in zip(*shapes, strict=True))
    if outputs * inputs > LARGEST_LAYER:
        raise AdapterFileError(
            f"a layer of {outputs} x {inputs} weights, and FLUX has none that large",
            fix="ask where the file comes from; it is no LoRA of FLUX",
        )


def _check_finite(*tensors: Tensor) -> None:
    if not all(map(all_finite, tensors)):
        raise AdapterFileError(
            "the change of a module holds numbers that are not finite",
            fix="take an earlier checkpoint, or leave it out",
        )


def nearest_lora(delta: LayerDelta, rank: int, weight: Tensor | None = None) -> tuple[LoRA, float]:
    """The LoRA of this rank that is nearest to the delta in Frobenius norm, and its error relative to the delta's norm.

    An error of 0.1 is a tenth of the delta lost; alpha is the rank, so the scale is 1. DoRA and OFT need the base
    weight, OI.
    """
    exact = as_lora(delta)
    if exact is not None:
        spectrum = of_product(exact.up.double() * exact.scale, exact.down)
    elif isinstance(delta, LoKr):
        w1, w2 = delta.factors
        spectrum = of_kronecker(w1 * delta.scale, w2, rank)
    else:
        return nearest_lora_of_matrix(delta_of(delta, weight), rank)
    return lora_from_spectrum(spectrum, rank), _ratio(spectrum.values[rank:].norm(), spectrum.values.norm())


def nearest_lora_of_matrix(delta_OI: Tensor, rank: int) -> tuple[LoRA, float]:
    """As nearest_lora, of a delta that is given as a matrix."""
    return _cut_matrix(delta_OI, of_matrix(delta_OI, rank), rank)


def lora_that_keeps(delta: LayerDelta, keep: float) -> tuple[LoRA, float] | None:
    """The nearest LoRA of the smallest rank that keeps this share of the delta's energy (sum of squared singular
    values), and its error as nearest_lora's. None for DoRA and OFT, whose change the base decides."""
    exact = as_lora(delta)
    if exact is not None:
        spectrum = of_product(exact.up.double() * exact.scale, exact.down)
        rank = _rank_that_keeps(spectrum.values, spectrum.values.square().sum(), keep)
    elif isinstance(delta, LoKr):
        w1, w2 = delta.factors
        values = of_kronecker(w1 * delta.scale, w2, 1).values
        rank = _rank_that_keeps(values, values.square().sum(), keep)
        spectrum = of_kronecker(w1 * delta.scale, w2, rank)
    else:
        return None
    return lora_from_spectrum(spectrum, rank), _ratio(spectrum.values[rank:].norm(), spectrum.values.norm())


def lora_of_matrix_that_keeps(delta_OI: Tensor, keep: float) -> tuple[LoRA, float]:
    """As lora_that_keeps, of a delta that is given as a matrix: twice as many singular values until they are enough."""
    energy, count = delta_OI.double().square().sum(), OVERSAMPLING
    spectrum = of_matrix(delta_OI, count)
    while spectrum.values.square().sum() < keep * energy and count < min(delta_OI.shape):
        count *= 2
        spectrum = of_matrix(delta_OI, count)
    return _cut_matrix(delta_OI, spectrum, _rank_that_keeps(spectrum.values, energy, keep))


def _rank_that_keeps(values: Tensor, energy: Tensor, keep: float) -> int:
    share = values.square().cumsum(0) / energy if energy else torch.ones(1)
    return min(int((share < keep).sum()) + 1, len(values))


def _cut_matrix(delta_OI: Tensor, spectrum: Spectrum, rank: int) -> tuple[LoRA, float]:
    nearest_OI = (spectrum.left[:, :rank] * spectrum.values[:rank]) @ spectrum.right[:rank]
    return lora_from_spectrum(spectrum, rank), _ratio((delta_OI - nearest_OI).norm(), delta_OI.norm())


def _ratio(lost: Tensor, total: Tensor) -> float:
    return (lost / total).item() if total else 0.0


def lora_from_spectrum(spectrum: Spectrum, rank: int) -> LoRA:
    """The `rank` largest singular values, the root of each in `down` and in `up`; zeros where there are fewer."""
    root, missing = spectrum.values[:rank].sqrt(), max(0, rank - len(spectrum.values))
    up_OR = (spectrum.left[:, :rank] * root).float()
    down_RI = (root[:, None] * spectrum.right[:rank]).float()
    return LoRA(pad(down_RI, (0, 0, 0, missing)).contiguous(), pad(up_OR, (0, missing)).contiguous(), float(rank))


def as_lora(delta: LayerDelta) -> LoRA | None:
    """The delta as a LoRA, exactly, where it is one: a LoHa of rank R is a LoRA of rank R * R. None otherwise."""
    match delta:
        case LoRA():
            return delta
        case LoHa():
            up_ORR = delta.w1_a.float()[:, :, None] * delta.w2_a.float()[:, None, :]
            down_RRI = delta.w1_b.float()[:, None, :] * delta.w2_b.float()[None, :, :]
            return LoRA(down_RRI.flatten(0, 1), up_ORR.flatten(1, 2), delta.scale * delta.rank**2)
        case _:
            return None
