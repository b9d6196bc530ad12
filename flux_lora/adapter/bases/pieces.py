"""Which rows of which base weight a change touches, whether the base is named as diffusers' FLUX or as FLUX's own.

Shape letters: I inputs and O outputs of the weight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from flux_lora.adapter.kinds import OFT, DoRA, LayerDelta, delta_of, type_with_article
from flux_lora.adapter.layouts.names import BFLLocation, bfl_name, diffusers_names, is_bfl, is_diffusers
from flux_lora.adapter.layouts.qkv import swap_halves
from flux_lora.adapter.tensors import Adapter
from flux_lora.errors import AdapterFileError


@dataclass(frozen=True)
class RowSlice:
    """A run of rows, in shares of the whole: the k of q, k and v is 1 to 2 of 3."""

    first: int
    end: int
    whole: int

    def of(self, tensor: Tensor) -> Tensor:
        """These rows of the tensor, as a view."""
        share = tensor.shape[0] // self.whole
        return tensor[self.first * share : self.end * share]


ALL = RowSlice(0, 1, 1)


def row_slice(place: BFLLocation) -> RowSlice:
    """Where the rows of one of diffusers' modules lie in FLUX's own."""
    above = sum(place.shares[: place.part])
    return RowSlice(above, above + place.shares[place.part], sum(place.shares))


@dataclass(frozen=True)
class WeightDelta:
    """What one change does to one weight of the base."""

    name: str
    """The module as the adapter calls it."""
    change: LayerDelta
    into: RowSlice = ALL
    """The rows of the weight that are changed."""
    out_of: RowSlice = ALL
    """The rows of the change that belong to this weight."""
    swap: bool = False
    """Whether the base has the two halves of the rows the other way round than the adapter."""


def weight_deltas(adapter: Adapter, *, native: bool) -> Mapping[str, Sequence[WeightDelta]]:
    """The pieces by module of the base, which has FLUX's own (native) names or those of diffusers."""
    found: dict[str, list[WeightDelta]] = {}
    for name, change in adapter.deltas.items():
        for module, piece in _native(name, change) if native else _diffusers(name, change):
            found.setdefault(module, []).append(piece)
    return found


def delta_on(piece: WeightDelta, weight_OI: Tensor) -> Tensor:
    """What the piece adds to its rows of the weight, in the base's order of rows."""
    part = piece.into.of(weight_OI)
    if piece.out_of != ALL:
        return _fitting(piece, piece.out_of.of(delta_of(piece.change)), part)
    if not piece.swap:
        return _fitting(piece, delta_of(piece.change, part), part)
    return swap_halves(_fitting(piece, delta_of(piece.change, swap_halves(part)), part))


def _native(name: str, change: LayerDelta) -> list[tuple[str, WeightDelta]]:
    if is_bfl(name) or not is_diffusers(name):
        return [(name, WeightDelta(name, change))]
    place = bfl_name(name)
    return [(place.module, WeightDelta(name, change, into=row_slice(place), swap=place.swap))]


def _diffusers(name: str, change: LayerDelta) -> list[tuple[str, WeightDelta]]:
    if is_diffusers(name) or not is_bfl(name):
        return [(name, WeightDelta(name, change))]
    there = diffusers_names(name)
    if len(there.names) == 1:
        return [(there.names[0], WeightDelta(name, change, swap=there.swap))]
    if isinstance(change, DoRA | OFT):
        raise AdapterFileError(
            f"{name} is changed by {type_with_article(change)} as one matrix, "
            f"and this base has it in {len(there.names)}",
            fix="fuse into a base in FLUX's own layout (flux1-dev.safetensors)",
        )
    pieces, above, whole = [], 0, sum(there.shares)
    for module, share in zip(there.names, there.shares, strict=True):
        pieces.append((module, WeightDelta(name, change, out_of=RowSlice(above, above + share, whole))))
        above += share
    return pieces


def _fitting(piece: WeightDelta, delta: Tensor, part: Tensor) -> Tensor:
    if delta.shape != part.shape:
        wants, has = (" x ".join(str(side) for side in one.shape) for one in (delta, part))
        raise AdapterFileError(
            f"the adapter changes {piece.name} ({wants}), but this base has {has} there",
            fix="use the base that the adapter was trained on",
        )
    return delta
