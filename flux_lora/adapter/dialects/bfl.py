"""Deltas of diffusers' modules as deltas of BFL's fused modules (qkv, linear1), and back. Both ways are exact.

Stacking n low-rank deltas gives one of n times the rank:

    down = [down_q; down_k; down_v]        up = blockdiag(up_q, up_k, up_v)

Every loader multiplies by alpha / rank, so with the rank the alpha becomes n times as large. A
delta that was trained on the fused module has no such gaps; its parts share all of `down`.

Shares: rows of each part, in widths of the model. Shape letters: R rank, I inputs, O outputs, P parts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from flux_lora.adapter.dialects.flux2_names import is_flux2
from flux_lora.adapter.dialects.flux3_names import is_flux3
from flux_lora.adapter.dialects.module_names import DiffusersParts, bfl_name, diffusers_names, is_bfl
from flux_lora.adapter.layer_types import OFT, Adapter, DoRA, LayerDelta, LoHa, LoKr, LoRA, sides_of, type_with_article
from flux_lora.errors import AdapterFileError

FLUX2_ROWS: Mapping[str, tuple[int, int]] = {
    ".linear1": (9, 1),  # q, k, v, and a gated MLP: 2 * 3
    ".linear2": (1, 4),
    "_mlp.0": (6, 1),
    "_mlp.2": (1, 3),
}
"""End of a BFL module of FLUX.2 whose shape FLUX.1 has not: outputs and inputs in widths of the model."""


def fuse_qkv(module: str, parts: Sequence[LoRA | None], shares: Sequence[int]) -> LoRA:
    """The LoRA of a BFL module from those of its parts, top rows first; None is a part that does not change.

    down is RI and up OR, R the sum of the parts' ranks. Parts of different rank or scale get their scale folded in, so
    that one alpha fits all. AdapterFileError where their shapes do not fit together.
    """
    present = [(part, share) for part, share in zip(parts, shares, strict=True) if part is not None]
    width = _width(module, present)
    layers = [part for part, _ in present]
    uniform = len(layers) == len(parts) and len({(layer.rank, layer.alpha) for layer in layers}) == 1
    rank = sum(layer.rank for layer in layers)
    up_OR = torch.zeros(width * sum(shares), rank)
    row, column = 0, 0
    for part, share in zip(parts, shares, strict=True):
        if part is not None:
            scale = 1.0 if uniform else part.scale
            up_OR[row : row + width * share, column : column + part.rank] = part.up.float() * scale
            column += part.rank
        row += width * share
    down_RI = torch.cat([layer.down.float() for layer in layers])
    return LoRA(down_RI, up_OR, alpha=layers[0].alpha * len(layers) if uniform else float(rank))


def split_qkv(module: str, layer: LoRA, shares: Sequence[int]) -> tuple[LoRA | None, ...]:
    """The LoRAs of the parts of a BFL module, exactly; None for a part whose rows do not change.

    Each up is its part's rows of up OR. Where each column of `up` serves one part only, each part gets its own columns
    and its own rank.
    """
    ups = split_rows(module, layer.up, shares)
    used_PR = torch.stack([(up != 0).any(0) for up in ups])
    owners_PR = _owners(used_PR)
    if owners_PR is None:
        return tuple(LoRA(layer.down, up, layer.alpha) for up in ups)
    return tuple(_columns(layer, up, own) for up, own in zip(ups, owners_PR, strict=True))


def split_delta(module: str, delta: LayerDelta, shares: Sequence[int]) -> tuple[LayerDelta | None, ...] | None:
    """The deltas of the parts of a BFL module, or None where a delta of this type cannot be split (LoKr, OFT, and DoRA
    by inputs)."""
    match delta:
        case LoRA():
            return split_qkv(module, delta, shares)
        case LoHa():
            rows = zip(split_rows(module, delta.w1_a, shares), split_rows(module, delta.w2_a, shares), strict=True)
            return tuple(replace(delta, w1_a=w1_a, w2_a=w2_a) for w1_a, w2_a in rows)
        case DoRA(per_input=False):
            rows = zip(
                split_rows(module, delta.lora.up, shares), split_rows(module, delta.magnitude, shares), strict=True
            )
            return tuple(DoRA(replace(delta.lora, up=up), magnitude) for up, magnitude in rows)
        case _:
            return None


def swap_delta_halves(module: str, delta: LayerDelta) -> LayerDelta:
    """The delta with the two halves of its rows exchanged: scale and shift of the final norm."""

    def swap(tensor: Tensor) -> Tensor:
        split_rows(module, tensor, (1, 1))
        return swap_halves(tensor)

    match delta:
        case LoRA():
            return replace(delta, up=swap(delta.up))
        case LoHa():
            return replace(delta, w1_a=swap(delta.w1_a), w2_a=swap(delta.w2_a))
        case DoRA():
            magnitude = delta.magnitude if delta.per_input else swap(delta.magnitude)
            return replace(delta, lora=replace(delta.lora, up=swap(delta.lora.up)), magnitude=magnitude)
        case LoKr():  # its rows are those of w1, each as often as w2 has rows
            w1, w1_a = (part if part is None else swap(part) for part in (delta.w1, delta.w1_a))
            return replace(delta, w1=w1, w1_a=w1_a)
        case OFT():
            rescale = None if delta.rescale is None else swap(delta.rescale)
            return replace(delta, blocks=swap(delta.blocks), rescale=rescale)


def swap_halves(tensor: Tensor) -> Tensor:
    """The tensor (O...) with the lower half of its rows above the upper one."""
    return torch.cat(tensor.chunk(2)[::-1])


def split_rows(module: str, tensor: Tensor, shares: Sequence[int]) -> tuple[Tensor, ...]:
    """The rows of a tensor (O...) that belong to each part; AdapterFileError where the shares do not divide them."""
    width, remainder = divmod(tensor.shape[0], sum(shares))
    if remainder:
        raise _misfit(module, f"its {tensor.shape[0]} rows are not a multiple of {sum(shares)}")
    return tensor.split([width * share for share in shares])


def _owners(used_PR: Tensor) -> Tensor | None:
    """Which columns of `up` each part gets: equal ranges if no part has numbers outside its own, else those that only
    it uses. None where parts share columns."""
    parts, rank = used_PR.shape
    if rank % parts == 0:
        ranges_PR = torch.eye(parts, dtype=torch.bool).repeat_interleave(rank // parts, dim=1)
        if not (used_PR & ~ranges_PR).any():
            return ranges_PR
    return used_PR if used_PR.any() and not (used_PR.sum(0) > 1).any() else None


def _columns(layer: LoRA, up_OR: Tensor, own_R: Tensor) -> LoRA | None:
    """The LoRA of the columns that own_R (bool) marks, at the same scale; None if it marks none."""
    rank = int(own_R.sum())
    return LoRA(layer.down[own_R], up_OR[:, own_R], layer.scale * rank) if rank else None


def _width(module: str, present: Sequence[tuple[LoRA, int]]) -> int:
    """Rows of one share, the same for all parts."""
    widths = {layer.up.shape[0] / share for layer, share in present}
    inputs = {layer.down.shape[1] for layer, _ in present}
    if len(widths) != 1 or len(inputs) != 1 or widths != {int(min(widths))}:
        shapes = ", ".join(f"{layer.up.shape[0]} x {layer.down.shape[1]}" for layer, _ in present)
        raise _misfit(module, f"its parts are {shapes}, which do not lie above each other there")
    return int(widths.pop())


def _misfit(module: str, why: str) -> AdapterFileError:
    return AdapterFileError(f"the change of {module} has an impossible shape: {why}", fix="give a LoRA for FLUX.1")


def to_bfl(adapter: Adapter) -> Iterator[tuple[str, LayerDelta]]:
    """Each BFL module and its delta, in the order of the adapter. Modules that already have BFL's names keep them."""
    flux2, flux3 = is_flux2(adapter.deltas), is_flux3(adapter.deltas)
    members: dict[str, dict[str, LayerDelta]] = {}
    for name, delta in adapter.deltas.items():
        module = name if is_bfl(name) else bfl_name(name, flux3=flux3).module
        members.setdefault(module, {})[name] = delta
    for module, deltas in members.items():
        yield module, _fused(diffusers_names(module, flux2=flux2, flux3=flux3), module, deltas)


def from_bfl(deltas: Mapping[str, LayerDelta]) -> dict[str, LayerDelta]:
    """The deltas under diffusers' names of FLUX.1; of FLUX.3 where their names are, of FLUX.2 where their shapes are.
    One that cannot be split keeps its BFL name."""
    flux3 = is_flux3(deltas)
    flux2 = not flux3 and any(_is_flux2(name, delta) for name, delta in deltas.items())
    found: dict[str, LayerDelta] = {}
    for name, delta in deltas.items():
        said = diffusers_names(name, flux2=flux2, flux3=flux3) if is_bfl(name) else None
        parts = _split(said, name, delta) if said else {name: delta}
        repeated = sorted(part for part in parts if part in found)
        if repeated:
            raise _changed_twice(repeated[0])
        found |= parts
    return found


def _is_flux2(module: str, delta: LayerDelta) -> bool:
    """Whether a BFL module has FLUX.2's rows: its MLPs have a gate, and are three times as wide as the model."""
    if "stream_modulation" in module:
        return True
    rows = next((rows for end, rows in FLUX2_ROWS.items() if module.endswith(end)), None)
    sides = sides_of(delta)
    return rows is not None and sides is not None and sides[0] * rows[1] == sides[1] * rows[0]


def _fused(parts: DiffusersParts, module: str, deltas: Mapping[str, LayerDelta]) -> LayerDelta:
    """The delta of a BFL module from those of its parts by diffusers' name, or from its own."""
    if len(deltas) > 1 and module in deltas:
        raise _changed_twice(module)
    if len(parts.names) == 1 or module in deltas:
        (name, delta) = next(iter(deltas.items()))
        return swap_delta_halves(module, delta) if parts.swap and name != module else delta
    layers = {name: delta for name, delta in deltas.items() if isinstance(delta, LoRA)}
    others = [name for name in deltas if name not in layers]
    if others:
        raise AdapterFileError(
            f"{others[0]} is changed by {type_with_article(deltas[others[0]])}, "
            f"which cannot be put into the one matrix {module} that other parts share",
            fix="write it in lycoris names, which keep parts apart; or turn it into a LoRA first: flux-lora resize",
        )
    return fuse_qkv(module, [layers.get(name) for name in parts.names], parts.shares)


def _split(parts: DiffusersParts, module: str, delta: LayerDelta) -> dict[str, LayerDelta]:
    """The deltas of a BFL module's parts by diffusers' name; under BFL's name if it cannot be split."""
    if len(parts.names) == 1:
        return {parts.names[0]: swap_delta_halves(module, delta) if parts.swap else delta}
    deltas = split_delta(module, delta, parts.shares)
    if deltas is None:
        return {module: delta}
    return {name: part for name, part in zip(parts.names, deltas, strict=True) if part is not None}


def _changed_twice(module: str) -> AdapterFileError:
    return AdapterFileError(
        f"the adapter changes {module} twice, once on its own and once as part of a larger matrix",
        fix="give a file that was written by one trainer; merge two with flux-lora merge",
    )
