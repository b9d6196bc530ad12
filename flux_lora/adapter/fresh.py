"""What a new adapter begins as: for each layer, tensors of its kind that change nothing yet.

Shape letters: R rank, I inputs and O outputs of the linear layer. LoKr's w1 is O1 x I1 and its w2 is O2 x I2, where
O1 * O2 = O and I1 * I2 = I.
"""

import math
from dataclasses import replace

import torch
from torch import Generator, Tensor

from flux_lora.adapter.layer_types import DoRA, LayerDelta, LoHa, LoKr, LoRA
from flux_lora.config.choices import AdapterKind

LOKR_FACTOR = 16
"""Most rows and columns of a LoKr's w1, as in SimpleTuner's recipe for FLUX: w2 has the rest."""


def fresh_delta(kind: AdapterKind, shape: tuple[int, int], rank: int, generator: Generator) -> LayerDelta:
    """A delta of nothing for a linear layer of (O, I), float32, at alpha = rank.

    Drawn as peft draws them (LoRA, DoRA and LoHa; Kaiming with a = sqrt 5, so uniform within 1 / sqrt inputs), and as
    LyCORIS does (LoKr). A DoRA's magnitudes, which are the lengths of the weight's rows, are zeros here.
    """
    outputs, inputs = shape
    match kind:
        case AdapterKind.lora:
            return LoRA(_drawn(rank, inputs, generator), torch.zeros(outputs, rank), float(rank))
        case AdapterKind.dora:
            lora = LoRA(_drawn(rank, inputs, generator), torch.zeros(outputs, rank), float(rank))
            return DoRA(lora, torch.zeros(outputs))
        case AdapterKind.loha:
            w1_a, w1_b = _drawn(outputs, rank, generator), _drawn(rank, inputs, generator)
            return LoHa(w1_a, w1_b, _drawn(outputs, rank, generator), torch.zeros(rank, inputs), float(rank))
        case AdapterKind.lokr:
            return _fresh_lokr(shape, rank, generator)


def numbers_in(kind: AdapterKind, shape: tuple[int, int], rank: int) -> int:
    """How many numbers a delta of this kind and rank has for a linear layer of (O, I)."""
    outputs, inputs = shape
    match kind:
        case AdapterKind.lora:
            return rank * (outputs + inputs)
        case AdapterKind.dora:
            return rank * (outputs + inputs) + outputs
        case AdapterKind.loha:
            return 2 * rank * (outputs + inputs)
        case AdapterKind.lokr:
            (rows_1, rows_2), (columns_1, columns_2) = (_split(side) for side in shape)
            whole = _is_whole(rank, rows_2, columns_2)
            return rows_1 * columns_1 + (rows_2 * columns_2 if whole else rank * (rows_2 + columns_2))


def with_alpha(delta: LayerDelta, alpha: float) -> LayerDelta:
    """The same tensors under another alpha; OFT has none."""
    match delta:
        case LoRA() | LoHa() | LoKr():
            return replace(delta, alpha=alpha)
        case DoRA():
            return replace(delta, lora=replace(delta.lora, alpha=alpha))
        case _:
            return delta


def _fresh_lokr(shape: tuple[int, int], rank: int, generator: Generator) -> LoKr:
    """w2 is a product of that rank, unless it is so small that it is kept whole."""
    (rows_1, rows_2), (columns_1, columns_2) = (_split(side) for side in shape)
    w1 = _drawn(rows_1, columns_1, generator)
    if _is_whole(rank, rows_2, columns_2):
        return LoKr(w1, None, None, torch.zeros(rows_2, columns_2), None, None, float(rank))
    w2_a, w2_b = _drawn(rows_2, rank, generator), torch.zeros(rank, columns_2)
    return LoKr(w1, None, None, None, w2_a, w2_b, float(rank))


def _is_whole(rank: int, rows_2: int, columns_2: int) -> bool:
    """Whether a LoKr's w2 is kept whole: as LyCORIS and peft decide it."""
    return rank >= max(rows_2, columns_2) / 2


def _split(side: int) -> tuple[int, int]:
    """Two factors of a side, the first as large as LOKR_FACTOR allows."""
    first = max(factor for factor in range(1, LOKR_FACTOR + 1) if side % factor == 0)
    return first, side // first


def _drawn(rows: int, columns: int, generator: Generator) -> Tensor:
    bound = 1 / math.sqrt(columns)
    return torch.empty(rows, columns).uniform_(-bound, bound, generator=generator)
