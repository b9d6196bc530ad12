"""Which rows of which base weight a change touches, whether the base is named as diffusers' FLUX or as FLUX's own.

Shape letters: I inputs and O outputs of the weight.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from flux_lora.adapter.kinds import Change, Decomposed, Orthogonal, a_kind, delta_of
from flux_lora.adapter.layouts.names import Place, bfl_name, diffusers_names, is_bfl, is_diffusers
from flux_lora.adapter.layouts.qkv import exchanged
from flux_lora.adapter.tensors import Adapter
from flux_lora.errors import AdapterFileError


@dataclass(frozen=True)
class Rows:
    """A run of rows, in shares of the whole: the k of q, k and v is 1 to 2 of 3."""

    first: int
    end: int
    whole: int

    def of(self, tensor: Tensor) -> Tensor:
        """These rows of the tensor, as a view."""
        share = tensor.shape[0] // self.whole
        return tensor[self.first * share : self.end * share]


ALL = Rows(0, 1, 1)


def rows_of(place: Place) -> Rows:
    """Where the rows of one of diffusers' modules lie in FLUX's own."""
    above = sum(place.shares[: place.part])
    return Rows(above, above + place.shares[place.part], sum(place.shares))


@dataclass(frozen=True)
class Piece:
    """What one change does to one weight of the base."""

    name: str
    """The module as the adapter calls it."""
    change: Change
    into: Rows = ALL
    """The rows of the weight that are changed."""
    out_of: Rows = ALL
    """The rows of the change that belong to this weight."""
    swap: bool = False
    """Whether the base has the two halves of the rows the other way round than the adapter."""


def pieces_of(adapter: Adapter, *, native: bool) -> Mapping[str, Sequence[Piece]]:
    """The pieces by module of the base, which has FLUX's own (native) names or those of diffusers."""
    found: dict[str, list[Piece]] = {}
    for name, change in adapter.changes.items():
        for module, piece in _native(name, change) if native else _diffusers(name, change):
            found.setdefault(module, []).append(piece)
    return found


def delta_on(piece: Piece, weight_OI: Tensor) -> Tensor:
    """What the piece adds to its rows of the weight, in the base's order of rows."""
    part = piece.into.of(weight_OI)
    if piece.out_of != ALL:
        return _fitting(piece, piece.out_of.of(delta_of(piece.change)), part)
    if not piece.swap:
        return _fitting(piece, delta_of(piece.change, part), part)
    return exchanged(_fitting(piece, delta_of(piece.change, exchanged(part)), part))


def _native(name: str, change: Change) -> list[tuple[str, Piece]]:
    if is_bfl(name) or not is_diffusers(name):
        return [(name, Piece(name, change))]
    place = bfl_name(name)
    return [(place.module, Piece(name, change, into=rows_of(place), swap=place.swap))]


def _diffusers(name: str, change: Change) -> list[tuple[str, Piece]]:
    if is_diffusers(name) or not is_bfl(name):
        return [(name, Piece(name, change))]
    there = diffusers_names(name)
    if len(there.names) == 1:
        return [(there.names[0], Piece(name, change, swap=there.swap))]
    if isinstance(change, Decomposed | Orthogonal):
        raise AdapterFileError(
            f"{name} is changed by {a_kind(change)} as one matrix, and this base has it in {len(there.names)}",
            fix="fuse into a base in FLUX's own layout (flux1-dev.safetensors)",
        )
    pieces, above, whole = [], 0, sum(there.shares)
    for module, share in zip(there.names, there.shares, strict=True):
        pieces.append((module, Piece(name, change, out_of=Rows(above, above + share, whole))))
        above += share
    return pieces


def _fitting(piece: Piece, delta: Tensor, part: Tensor) -> Tensor:
    if delta.shape != part.shape:
        wants, has = (" x ".join(str(side) for side in one.shape) for one in (delta, part))
        raise AdapterFileError(
            f"the adapter changes {piece.name} ({wants}), but this base has {has} there",
            fix="use the base that the adapter was trained on",
        )
    return delta
