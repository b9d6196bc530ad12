"""A change that a file has for one weight of BFL's model, dealt out to diffusers' weights."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from flux_lora.adapter.kinds import LayerDelta, LoHa, LoRA
from flux_lora.adapter.readers.architecture import MLP_RATIO, FusedWeight


def unfuse(change: LayerDelta, seat: FusedWeight) -> dict[str, LayerDelta]:
    """The change under diffusers' names; empty if its rows cannot be dealt out.

    Of linear1's seven shares of rows four are the MLP's. A kind whose rows cannot be told apart keeps BFL's name.
    """
    if len(seat.parts) == 1 and not seat.swaps:
        return {seat.parts[0]: change}
    if not isinstance(change, LoRA | LoHa):
        return {seat.fused: change}
    shares = [MLP_RATIO if part.endswith("proj_mlp") else 1 for part in seat.parts]
    height = change.up.shape[0] if isinstance(change, LoRA) else change.w1_a.shape[0]
    width, left = divmod(height, sum(shares))
    if left or not width:
        return {}
    if seat.swaps:
        return {seat.parts[0]: on_rows(change, swap_row_halves)}
    ends = [sum(shares[: number + 1]) * width for number in range(len(shares))]
    starts = [0, *ends[:-1]]
    return {
        part: on_rows(change, lambda rows, start=start, end=end: rows[start:end])
        for part, start, end in zip(seat.parts, starts, ends, strict=True)
    }


def on_rows(change: LoRA | LoHa, act: Callable[[Tensor], Tensor]) -> LoRA | LoHa:
    """The change after `act` on the rows of the weight that it changes."""
    if isinstance(change, LoRA):
        return replace(change, up=act(change.up))
    return replace(change, w1_a=act(change.w1_a), w2_a=act(change.w2_a))


def swap_row_halves(rows: Tensor) -> Tensor:
    """The two halves of the rows, exchanged."""
    first, second = rows.chunk(2)
    return torch.cat([second, first])
