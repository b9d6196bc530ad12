"""FLUX's own model has one qkv matrix where diffusers has three: low-rank changes side by side, and apart again.

Stacking n low-rank changes gives one of n times the rank:

    down = [down_q; down_k; down_v]        up = blockdiag(up_q, up_k, up_v)

Every reader multiplies by alpha / rank, so with the rank the alpha becomes n times as large. A
change that was trained on the whole matrix has no such gaps; its parts share all of `down`.

Shape letters: R rank, I inputs, O outputs; P parts.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from flux_lora.adapter.kinds import OFT, DoRA, LayerDelta, LoHa, LoKr, LoRA
from flux_lora.errors import AdapterFileError

FLUX2_SHARES = 9
"""Of linear1: q, k, v and an MLP twice three times as wide as the model."""


def fuse_qkv(module: str, parts: Sequence[LoRA | None], shares: Sequence[int]) -> LoRA:
    """One change of a native module from those of its parts, top rows first; None is a part that does not change.

    Parts of different rank or scale get their scale folded in, so that one alpha fits all.
    """
    present = [(part, share) for part, share in zip(parts, shares, strict=True) if part is not None]
    width = _width(module, present)
    layers = [part for part, _ in present]
    alike = len(layers) == len(parts) and len({(layer.rank, layer.alpha) for layer in layers}) == 1
    rank = sum(layer.rank for layer in layers)
    up_OR = torch.zeros(width * sum(shares), rank)
    row, column = 0, 0
    for part, share in zip(parts, shares, strict=True):
        if part is not None:
            scale = 1.0 if alike else part.scale
            up_OR[row : row + width * share, column : column + part.rank] = part.up.float() * scale
            column += part.rank
        row += width * share
    down_RI = torch.cat([layer.down.float() for layer in layers])
    return LoRA(down_RI, up_OR, alpha=layers[0].alpha * len(layers) if alike else float(rank))


def split_qkv(module: str, layer: LoRA, shares: Sequence[int]) -> tuple[LoRA | None, ...]:
    """The changes of the parts of a native module, exactly; None for a part whose rows do not change.

    Where each column of `up` serves one part only, each part gets its own columns and its own rank.
    """
    ups = split_rows(module, layer.up, shares)
    used_PR = torch.stack([(up != 0).any(0) for up in ups])
    owners_PR = _owners(used_PR)
    if owners_PR is None:
        return tuple(LoRA(layer.down, up, layer.alpha) for up in ups)
    return tuple(_columns(layer, up, own) for up, own in zip(ups, owners_PR, strict=True))


def split_delta(module: str, change: LayerDelta, shares: Sequence[int]) -> tuple[LayerDelta | None, ...] | None:
    """The changes of the parts, or None where a change of this kind cannot be taken apart."""
    match change:
        case LoRA():
            return split_qkv(module, change, shares)
        case LoHa():
            above = zip(split_rows(module, change.w1_a, shares), split_rows(module, change.w2_a, shares), strict=True)
            return tuple(replace(change, w1_a=one, w2_a=two) for one, two in above)
        case DoRA(per_input=False):
            above = zip(
                split_rows(module, change.lora.up, shares), split_rows(module, change.magnitude, shares), strict=True
            )
            return tuple(DoRA(replace(change.lora, up=up), magnitude) for up, magnitude in above)
        case _:
            return None


def swap_delta_halves(module: str, change: LayerDelta) -> LayerDelta:
    """The change with the two halves of its rows exchanged: scale and shift of the final norm."""

    def swap(tensor: Tensor) -> Tensor:
        split_rows(module, tensor, (1, 1))
        return swap_halves(tensor)

    match change:
        case LoRA():
            return replace(change, up=swap(change.up))
        case LoHa():
            return replace(change, w1_a=swap(change.w1_a), w2_a=swap(change.w2_a))
        case DoRA():
            magnitude = change.magnitude if change.per_input else swap(change.magnitude)
            return replace(change, lora=replace(change.lora, up=swap(change.lora.up)), magnitude=magnitude)
        case LoKr():  # its rows are those of w1, each as often as w2 has rows
            w1, w1_a = (part if part is None else swap(part) for part in (change.w1, change.w1_a))
            return replace(change, w1=w1, w1_a=w1_a)
        case OFT():
            rescale = None if change.rescale is None else swap(change.rescale)
            return replace(change, blocks=swap(change.blocks), rescale=rescale)


def swap_halves(tensor: Tensor) -> Tensor:
    """The lower half of the rows above the upper one."""
    return torch.cat(tensor.chunk(2)[::-1])


def split_rows(module: str, tensor: Tensor, shares: Sequence[int]) -> tuple[Tensor, ...]:
    """The rows of each part, by its share."""
    width, left = divmod(tensor.shape[0], sum(shares))
    if left:
        other = "" if tensor.shape[0] % FLUX2_SHARES else f" but of {FLUX2_SHARES}, as FLUX.2 has them"
        raise _misfit(module, f"its {tensor.shape[0]} rows are not a multiple of {sum(shares)}{other}")
    return tensor.split([width * share for share in shares])


def _owners(used_PR: Tensor) -> Tensor | None:
    """Which columns each part gets: even stretches if they explain what is used, else those it uses alone."""
    parts, rank = used_PR.shape
    if rank % parts == 0:
        stretches_PR = torch.eye(parts, dtype=torch.bool).repeat_interleave(rank // parts, dim=1)
        if not (used_PR & ~stretches_PR).any():
            return stretches_PR
    return used_PR if used_PR.any() and not (used_PR.sum(0) > 1).any() else None


def _columns(layer: LoRA, up_OR: Tensor, own_R: Tensor) -> LoRA | None:
    rank = int(own_R.sum())
    return LoRA(layer.down[own_R], up_OR[:, own_R], layer.scale * rank) if rank else None


def _width(module: str, present: Sequence[tuple[LoRA, int]]) -> int:
    """How many rows one share has."""
    widths = {layer.up.shape[0] / share for layer, share in present}
    inputs = {layer.down.shape[1] for layer, _ in present}
    if len(widths) != 1 or len(inputs) != 1 or widths != {int(min(widths))}:
        shapes = ", ".join(f"{layer.up.shape[0]} x {layer.down.shape[1]}" for layer, _ in present)
        raise _misfit(module, f"its parts are {shapes}, which do not lie above each other there")
    return int(widths.pop())


def _misfit(module: str, why: str) -> AdapterFileError:
    return AdapterFileError(f"the change of {module} has an impossible shape: {why}", fix="give a LoRA for FLUX.1")
