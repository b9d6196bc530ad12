"""Merge, resize, subtract, split and cast adapters, and extract one from two checkpoints.

Adding the factors of two LoRAs adds cross terms nobody trained: (up_1 + up_2)(down_1 + down_2).
Here deltas are added, never factors.

Shape letters: R rank, I inputs and O outputs of the linear layer.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from flux_lora.adapter.dialects.bfl import from_bfl, split_rows
from flux_lora.adapter.dialects.module_names import diffusers_names, is_bfl
from flux_lora.adapter.layer_types import (
    Adapter,
    LayerDelta,
    LoKr,
    LoRA,
    all_finite,
    at_strength,
    delta_of,
    map_tensors,
    type_with_article,
)
from flux_lora.adapter.low_rank import (
    as_lora,
    lora_of_matrix_that_keeps,
    lora_that_keeps,
    nearest_lora,
    nearest_lora_of_matrix,
    of_product,
    refuse_large,
)
from flux_lora.errors import AdapterFileError, ConfigError

Weights = Callable[[str], Tensor]
"""Module name -> weight, OI."""


@dataclass(frozen=True)
class Resized:
    """A plain LoRA that approximates other deltas, and its errors."""

    adapter: Adapter
    errors: Mapping[str, float]
    """By module, as it was called before: Frobenius norm of what is lost over that of the delta."""

    @property
    def worst(self) -> float:
        """The largest of the errors."""
        return max(self.errors.values(), default=0.0)


def merge_adapters(adapters: Sequence[Adapter], strengths: Sequence[float]) -> Adapter:
    """The exact sum of the adapters, each times its strength.

    Where several change one module, up = [s_1 up_1, s_2 up_2] and down = [down_1; down_2]: the
    ranks add up. `resize_adapter` brings them down again, and says what that costs.
    """
    if not adapters or len(adapters) != len(strengths):
        raise ConfigError(
            f"{len(adapters)} adapter(s) are to be merged at {len(strengths)} strength(s)",
            fix="give one strength for each file",
        )
    parts: dict[str, list[LayerDelta]] = {}
    for adapter, strength in zip(adapters, strengths, strict=True):
        for name, delta in adapter.deltas.items():
            parts.setdefault(name, []).append(at_strength(delta, strength))
    _check_no_overlap(parts)
    return Adapter({name: _sum(name, deltas) for name, deltas in parts.items()})


def subtract_adapters(adapter: Adapter, other: Adapter) -> Adapter:
    """The exact difference of their deltas."""
    return merge_adapters((adapter, other), (1.0, -1.0))


def resize_adapter(adapter: Adapter, rank: int, *, weights: Weights | None = None) -> Resized:
    """The nearest LoRA of this rank in every module; the base weights are needed for DoRA and OFT only.

    A fused module that has to be split afterwards is cut part by part: q, k and v each get the rank.
    """
    if rank < 1:
        raise ConfigError(f"rank is {rank}", fix="set rank to 1 or more (16 is a good start)")

    def cut_delta(name: str, delta: LayerDelta) -> tuple[LoRA, float]:
        return nearest_lora(delta, rank, weights(name) if weights else None)

    return _each_cut(adapter, cut_delta, partial(nearest_lora_of_matrix, rank=rank), weights)


def resize_adapter_by_energy(adapter: Adapter, keep: float) -> Resized:
    """The smallest rank for each module that keeps this share of its energy (sum of squared singular values).

    The error is then at most sqrt(1 - keep): keep=0.99 loses a tenth of the norm.
    """
    if not 0 < keep <= 1:
        raise ConfigError(f"the energy to keep is {keep:g}", fix="set it above 0 and up to 1, for example 0.99")

    def cut_delta(name: str, delta: LayerDelta) -> tuple[LoRA, float]:
        found = lora_that_keeps(delta, keep)
        if found is None:
            raise AdapterFileError(
                f"what {type_with_article(delta)} changes of {name} depends on the base, and with it its energy",
                fix="give rank=16 and base= in place of keep",
            )
        return found

    return _each_cut(adapter, cut_delta, partial(lora_of_matrix_that_keeps, keep=keep), None)


def _each_cut(
    adapter: Adapter,
    cut_delta: Callable[[str, LayerDelta], tuple[LoRA, float]],
    cut_matrix: Callable[[Tensor], tuple[LoRA, float]],
    weights: Weights | None,
) -> Resized:
    layers: dict[str, LoRA] = {}
    errors: dict[str, float] = {}
    for name, delta in adapter.deltas.items():
        finite = map_tensors(delta, partial(_finite, name))
        parts = diffusers_names(name) if is_bfl(name) else None
        if parts is None or len(parts.names) == 1:
            layers[name], errors[name] = cut_delta(name, finite)
            continue
        if isinstance(finite, LoKr):
            refuse_large(finite.factors[0].shape, finite.factors[1].shape)
        whole_OI = delta_of(finite, weights(name) if weights else None)
        rows_of_parts = split_rows(name, whole_OI, parts.shares)
        cuts = [cut_matrix(rows) for rows in rows_of_parts]
        layers |= {part: layer for part, (layer, _) in zip(parts.names, cuts, strict=True)}
        lost = [error * rows.norm() for rows, (_, error) in zip(rows_of_parts, cuts, strict=True)]
        errors[name] = (torch.stack(lost).norm() / whole_OI.norm()).item() if whole_OI.any() else 0.0
    return _resized(layers, errors)


def singular_values(layer: LoRA) -> Tensor:
    """The singular values of the layer's delta, largest first: R, float64."""
    return of_product(layer.up.double() * layer.scale, layer.down).values


def split_by_pattern(adapter: Adapter, pattern: str) -> tuple[Adapter, Adapter]:
    """The modules whose full name matches the regular expression, and the rest."""
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(
            f"{pattern!r} is not a pattern: {error}",
            fix=r"write one for whole names, such as '.*\.attn\..*'",
        ) from error
    matching = {name: delta for name, delta in adapter.deltas.items() if compiled.fullmatch(name)}
    rest = {name: delta for name, delta in adapter.deltas.items() if name not in matching}
    return Adapter(matching), Adapter(rest)


def cast_adapter(adapter: Adapter, dtype: torch.dtype) -> Adapter:
    """The adapter's tensors in this dtype. A number too large for it is refused, not made infinite."""

    def cast(tensor: Tensor) -> Tensor:
        narrowed = tensor.to(dtype)
        if not all_finite(narrowed) and all_finite(tensor):
            raise AdapterFileError(
                f"the adapter holds {tensor.abs().max():.3g}, more than {str(dtype).removeprefix('torch.')} can",
                fix="write it in bf16 or fp32: dtype=bf16, or export.dtype=bf16 in an export",
            )
        return narrowed

    return Adapter({name: map_tensors(delta, cast) for name, delta in adapter.deltas.items()})


def extract_lora(before: Weights, after: Weights, names: Iterable[str], rank: int) -> Resized:
    """The LoRA from one checkpoint to another: nearest to after - before in each module that differs.

    One pair of weights is held at a time.
    """
    layers: dict[str, LoRA] = {}
    errors: dict[str, float] = {}
    for name in names:
        base_OI, tuned_OI = before(name), after(name)
        if base_OI.shape != tuned_OI.shape:
            sizes = " and ".join(" x ".join(map(str, weight.shape)) for weight in (base_OI, tuned_OI))
            raise AdapterFileError(f"{name} is {sizes} in the two models", fix="give a base and its fine-tuned form")
        delta_OI = tuned_OI.float() - base_OI.float()
        if delta_OI.any():
            layers[name], errors[name] = nearest_lora_of_matrix(_finite(name, delta_OI), rank)
    return _resized(layers, errors)


def _finite(name: str, tensor: Tensor) -> Tensor:
    """The tensor itself, of any shape; refused where it holds NaN or infinity."""
    if not all_finite(tensor):
        raise AdapterFileError(
            f"{name} holds numbers that are not finite", fix="take an earlier checkpoint, or fetch the file again"
        )
    return tensor


def _check_no_overlap(parts: Mapping[str, Sequence[LayerDelta]]) -> None:
    """One adapter's fused qkv and another's q have no exact sum under either name."""
    for fused in (name for name in parts if is_bfl(name)):
        overlapping = [name for name in diffusers_names(fused).names if name in parts]
        if overlapping:
            layer_type = type_with_article(parts[fused][0])
            raise AdapterFileError(
                f"{fused} is changed by {layer_type}, and {overlapping[0]}, a part of it, by another adapter",
                fix=f"turn the file with {layer_type} into a LoRA first: flux-lora resize",
            )


def _sum(name: str, deltas: Sequence[LayerDelta]) -> LayerDelta:
    """The deltas of one module as one, its rank the sum of theirs."""
    if len(deltas) == 1:
        return deltas[0]
    layers = [as_lora(delta) for delta in deltas]
    plain = [layer for layer in layers if layer is not None]
    if len(plain) < len(layers):
        other = type_with_article(deltas[layers.index(None)])
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
    up_OR = torch.cat([layer.up if layer.scale == 1.0 else layer.up.float() * layer.scale for layer in plain], dim=1)
    down_RI = torch.cat([layer.down for layer in plain])
    return LoRA(down_RI, up_OR, float(up_OR.shape[1]))


def _resized(layers: Mapping[str, LoRA], errors: Mapping[str, float]) -> Resized:
    """LoRAs of fused modules are split into diffusers' modules, which any LoRA can be."""
    return Resized(Adapter(from_bfl(layers)), errors)
