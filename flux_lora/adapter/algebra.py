"""Reckoning with whole adapters: merge, resize, subtract, split, cast, and extract from two checkpoints.

Adding the factors of two LoRAs adds cross terms nobody trained: (up_1 + up_2)(down_1 + down_2).
Here changes are added, never factors.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from flux_lora.adapter.kinds import LayerDelta, LoRA, at_strength, map_tensors, type_with_article
from flux_lora.adapter.layouts.names import diffusers_names, is_bfl
from flux_lora.adapter.layouts.native import from_bfl
from flux_lora.adapter.nearest import as_lora, lora_from_spectrum, nearest_lora, nearest_lora_of_matrix
from flux_lora.adapter.spectrum import of_product
from flux_lora.adapter.tensors import Adapter
from flux_lora.errors import AdapterFileError, ConfigError

Weights = Callable[[str], Tensor]
"""The weight of a module, OI, by its name."""


@dataclass(frozen=True)
class Resized:
    """A plain LoRA that stands for another change, and how far it is from it."""

    adapter: Adapter
    errors: Mapping[str, float]
    """By module, as it was called before: Frobenius norm of what is lost over that of the change."""

    @property
    def worst(self) -> float:
        """The largest of the errors."""
        return max(self.errors.values(), default=0.0)


def merge_adapters(adapters: Sequence[Adapter], strengths: Sequence[float]) -> Adapter:
    """The adapter that does what these do together, each at its strength, exactly.

    Where several change one module, up = [s_1 up_1, s_2 up_2] and down = [down_1; down_2]: the
    ranks add up. `resized` brings them down again, and says what that costs.
    """
    if not adapters or len(adapters) != len(strengths):
        raise ConfigError(
            f"{len(adapters)} adapter(s) are to be merged at {len(strengths)} strength(s)",
            fix="give one strength for each file",
        )
    parts: dict[str, list[LayerDelta]] = {}
    for adapter, strength in zip(adapters, strengths, strict=True):
        for name, change in adapter.deltas.items():
            parts.setdefault(name, []).append(at_strength(change, strength))
    _check_apart(parts)
    return Adapter({name: _sum(name, changes) for name, changes in parts.items()})


def subtract_adapters(adapter: Adapter, other: Adapter) -> Adapter:
    """What `adapter` does and `other` does not: the difference of their changes, exactly."""
    return merge_adapters((adapter, other), (1.0, -1.0))


def resize_adapter(adapter: Adapter, rank: int, *, weights: Weights | None = None) -> Resized:
    """The nearest LoRA of this rank in every module; the base weights are needed for DoRA and OFT only."""
    if rank < 1:
        raise ConfigError(f"rank is {rank}", fix="set rank to 1 or more (16 is a good start)")
    found: dict[str, tuple[LoRA, float]] = {}
    for name, change in adapter.deltas.items():
        finite = map_tensors(change, partial(_finite, name))
        found[name] = nearest_lora(finite, rank, weights(name) if weights else None)
    return _resized(found)


def resize_adapter_by_energy(adapter: Adapter, keep: float) -> Resized:
    """The smallest rank for each module that keeps this share of its energy (of the squared singular values).

    The error is then at most sqrt(1 - keep): keep=0.99 loses a tenth of the length.
    """
    if not 0 < keep <= 1:
        raise ConfigError(f"the energy to keep is {keep:g}", fix="set it above 0 and up to 1, for example 0.99")
    return _resized({name: _kept(name, layer, keep) for name, layer in _products(adapter).items()})


def singular_values(layer: LoRA) -> Tensor:
    """The singular values of what the layer adds, largest first, float64."""
    return of_product(layer.up.double() * layer.scale, layer.down).values


def split_by_pattern(adapter: Adapter, pattern: str) -> tuple[Adapter, Adapter]:
    """The modules whose whole name the pattern matches, and the rest."""
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"{pattern!r} is not a pattern: {error}", fix=r"write one such as 'single_transformer_blocks\..*'"
        ) from error
    chosen = {name: change for name, change in adapter.deltas.items() if wanted.fullmatch(name)}
    rest = {name: change for name, change in adapter.deltas.items() if name not in chosen}
    return Adapter(chosen), Adapter(rest)


def cast_adapter(adapter: Adapter, dtype: torch.dtype) -> Adapter:
    """The adapter's tensors in this dtype. A number too large for it is refused, not made infinite."""

    def act(tensor: Tensor) -> Tensor:
        after = tensor.to(dtype)
        if not after.isfinite().all() and tensor.isfinite().all():
            raise AdapterFileError(
                f"the adapter holds {tensor.abs().max():.3g}, more than {str(dtype).removeprefix('torch.')} can",
                fix="write it in bf16 or fp32: dtype=bf16, or export.dtype=bf16 in an export",
            )
        return after

    return Adapter({name: map_tensors(change, act) for name, change in adapter.deltas.items()})


def extract_lora(before: Weights, after: Weights, names: Iterable[str], rank: int) -> Resized:
    """The LoRA that leads from one checkpoint to another: nearest to after - before in each module that differs.

    One pair of weights is held at a time.
    """
    found: dict[str, tuple[LoRA, float]] = {}
    for name in names:
        known, tuned = before(name), after(name)
        if known.shape != tuned.shape:
            sizes = " and ".join(" x ".join(map(str, each.shape)) for each in (known, tuned))
            raise AdapterFileError(f"{name} is {sizes} in the two models", fix="give a base and its fine-tuned form")
        change = tuned.float() - known.float()
        if change.any():
            found[name] = nearest_lora_of_matrix(_finite(name, change), rank)
    return _resized(found)


def _finite(name: str, tensor: Tensor) -> Tensor:
    if not tensor.isfinite().all():
        raise AdapterFileError(
            f"{name} holds numbers that are not finite", fix="take an earlier checkpoint, or fetch the file again"
        )
    return tensor


def _check_apart(parts: Mapping[str, Sequence[LayerDelta]]) -> None:
    """One adapter's qkv and another's q have no exact sum under either name."""
    for whole in (name for name in parts if is_bfl(name)):
        shared = [name for name in diffusers_names(whole).names if name in parts]
        if shared:
            kind = type_with_article(parts[whole][0])
            raise AdapterFileError(
                f"{whole} is changed by {kind}, and {shared[0]}, a part of it, by another adapter",
                fix=f"turn the file with {kind} into a LoRA first: flux-lora resize",
            )


def _sum(name: str, changes: Sequence[LayerDelta]) -> LayerDelta:
    if len(changes) == 1:
        return changes[0]
    layers = [as_lora(change) for change in changes]
    plain = [layer for layer in layers if layer is not None]
    if len(plain) < len(layers):
        other = type_with_article(changes[layers.index(None)])
        raise AdapterFileError(
            f"{name} is changed by {other} and by another adapter, and the two have no exact sum",
            fix=f"turn the file with {other} into a LoRA first: flux-lora resize",
        )
    shapes = {layer.shape for layer in plain}
    if len(shapes) > 1:
        raise AdapterFileError(
            f"{name} is {' and '.join(f'{o} x {i}' for o, i in sorted(shapes))} in adapters that are to be merged",
            fix="merge adapters of one base model",
        )
    up = torch.cat([layer.up.float() * layer.scale for layer in plain], dim=1)
    return LoRA(torch.cat([layer.down.float() for layer in plain]), up, float(up.shape[1]))


def _products(adapter: Adapter) -> dict[str, LoRA]:
    """The exact LoRA of every module, or the complaint of `layers`."""
    products = {name: as_lora(change) for name, change in adapter.deltas.items()}
    exact = {name: layer for name, layer in products.items() if layer is not None}
    return exact if len(exact) == len(products) else dict(adapter.layers)


def _kept(name: str, layer: LoRA, keep: float) -> tuple[LoRA, float]:
    spectrum = of_product(_finite(name, layer.up).double() * layer.scale, _finite(name, layer.down))
    squares = spectrum.values.square()
    whole = squares.sum()
    if not whole:
        return lora_from_spectrum(spectrum, 1), 0.0
    share = squares.cumsum(0) / whole
    rank = min(int((share < keep).sum()) + 1, len(squares))
    return lora_from_spectrum(spectrum, rank), (squares[rank:].sum() / whole).sqrt().item()


def _resized(found: Mapping[str, tuple[LoRA, float]]) -> Resized:
    """A LoRA can always be split into diffusers' modules; the other kinds on FLUX's own ones become so here."""
    layers = from_bfl({name: layer for name, (layer, _) in found.items()})
    return Resized(Adapter(layers), {name: error for name, (_, error) in found.items()})
