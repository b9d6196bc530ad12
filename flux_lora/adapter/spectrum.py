"""Singular values: of a low-rank product without building it, and the largest of a whole matrix.

Shape letters: R rank, I inputs and O outputs, K singular values, falling.
"""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from flux_lora.errors import AdapterFileError

EXACT_SIDE = 1024
"""Up to this smaller side a matrix is decomposed exactly, in seconds on a CPU."""
OVERSAMPLING = 16
ROUNDS = 8
"""Of subspace iteration on larger matrices: what is lost against the exact answer is far below 0.1 % of the error."""


@dataclass(frozen=True)
class Spectrum:
    """left @ diag(values) @ right, with orthonormal columns in `left` and rows in `right`; float64."""

    left: Tensor  # OK
    values: Tensor  # K
    right: Tensor  # KI


def of_product(up: Tensor, down: Tensor) -> Spectrum:
    """All singular values of up @ down, through the QR of both: OI is never built.

    up = Qu Ru, down' = Qd Rd, so up down = Qu (Ru Rd') Qd', and only Ru Rd' needs an SVD.
    """
    _check_finite(up, down)
    left_q, left_r = torch.linalg.qr(up.double())
    right_q, right_r = torch.linalg.qr(down.double().T)
    left, values, right = torch.linalg.svd(left_r @ right_r.T, full_matrices=False)
    return Spectrum(left_q @ left, values, right @ right_q.T)


def of_matrix(matrix: Tensor, most: int) -> Spectrum:
    """The largest `most` singular values of a matrix. A large one takes subspace iteration from a fixed start."""
    _check_finite(matrix)
    if min(matrix.shape) <= EXACT_SIDE:
        left, values, right = torch.linalg.svd(matrix.double(), full_matrices=False)
        return Spectrum(left[:, :most], values[:most], right[:most])
    wide = min(most + OVERSAMPLING, *matrix.shape)
    start = torch.randn(matrix.shape[1], wide, generator=Generator().manual_seed(0))
    matrix = matrix.float()
    span = torch.linalg.qr(matrix @ start.to(matrix))[0]
    for _ in range(ROUNDS):
        span = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.T @ span)[0])[0]
    left, values, right = torch.linalg.svd((span.T @ matrix).double(), full_matrices=False)
    return Spectrum((span.double() @ left)[:, :most], values[:most], right[:most])


def of_kronecker(one: Tensor, other: Tensor, most: int) -> Spectrum:
    """All singular values of kron(one, other), and the directions of the largest `most`: OI is never built.

    Both are products of the factors': of the values, and, by kron, of the directions.
    """
    _check_finite(one, other)
    (left_1, values_1, right_1), (left_2, values_2, right_2) = (
        torch.linalg.svd(factor.double(), full_matrices=False) for factor in (one, other)
    )
    values, places = torch.outer(values_1, values_2).flatten().sort(descending=True, stable=True)
    first, second = places[:most] // len(values_2), places[:most] % len(values_2)
    left = (left_1[:, None, first] * left_2[None, :, second]).flatten(0, 1)
    right = (right_1[first, :, None] * right_2[second, None, :]).flatten(1, 2)
    return Spectrum(left, values, right)


def _check_finite(*tensors: Tensor) -> None:
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise AdapterFileError(
            "the change of a module holds numbers that are not finite",
            fix="take an earlier checkpoint, or leave it out",
        )
