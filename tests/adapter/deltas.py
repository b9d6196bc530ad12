"""One change of every kind for a layer of 12 outputs and 8 inputs, and the weight it changes."""

import torch
from torch import Generator, Tensor

from flux_lora.adapter.layer_types import OFT, DoRA, LayerDelta, LoHa, LoKr, LoRA

OUTPUTS, INPUTS = 12, 8
KINDS = ("LoRA", "DoRA", "LoKr", "LoHa", "OFT")


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(sum(shape) + 1000 * seed))


def weight() -> Tensor:
    return drawn(OUTPUTS, INPUTS, seed=9)


def lora(rank: int = 3, alpha: float = 6.0, seed: int = 0) -> LoRA:
    return LoRA(drawn(rank, INPUTS, seed=seed), drawn(OUTPUTS, rank, seed=seed + 1), alpha)


def lokr(alpha: float = 6.0, seed: int = 0) -> LoKr:
    """A whole 3 x 2 factor times a 4 x 4 one of rank 2."""
    return LoKr(drawn(3, 2, seed=seed), None, None, None, drawn(4, 2, seed=seed), drawn(2, 4, seed=seed), alpha)


def loha(rank: int = 2, alpha: float = 6.0, seed: int = 0) -> LoHa:
    ups = (drawn(OUTPUTS, rank, seed=seed), drawn(OUTPUTS, rank, seed=seed + 1))
    downs = (drawn(rank, INPUTS, seed=seed), drawn(rank, INPUTS, seed=seed + 1))
    return LoHa(ups[0], downs[0], ups[1], downs[1], alpha)


def change(kind: str) -> LayerDelta:
    match kind:
        case "LoRA":
            return lora()
        case "DoRA":
            return DoRA(lora(), 1 + drawn(OUTPUTS).abs())
        case "LoKr":
            return lokr()
        case "LoHa":
            return loha()
        case _:
            return OFT(0.1 * drawn(4, 3, 3))


def change_for(kind: str, outputs: int, inputs: int) -> LayerDelta:
    """A change of the kind for a weight of any size divisible by 4."""
    lora = LoRA(0.1 * drawn(2, inputs), drawn(outputs, 2), 2.0)
    match kind:
        case "LoRA":
            return lora
        case "DoRA":
            return DoRA(lora, 1 + drawn(outputs).abs())
        case "LoKr":
            return LoKr(drawn(4, 4), None, None, drawn(outputs // 4, inputs // 4), None, None, 1.0)
        case "LoHa":
            return LoHa(drawn(outputs, 2), drawn(2, inputs), drawn(outputs, 2, seed=1), drawn(2, inputs), 0.1)
        case _:
            return OFT(0.1 * drawn(outputs // 4, 4, 4))
