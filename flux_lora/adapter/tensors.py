"""An adapter as tensors, free of any model and of any file's naming.

Shape letters: R rank, I inputs and O outputs of the linear layer that is changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from flux_lora.adapter.kinds import Change, Layer, a_kind, delta_of, on_tensors, times
from flux_lora.errors import AdapterFileError


@dataclass(frozen=True)
class Adapter:
    """One change per linear layer. The names are those of diffusers' transformer: transformer_blocks.0.attn.to_q.

    Kinds other than LoRA cannot be split when they were trained on a fused layer; those keep
    its name in FLUX's own model: double_blocks.0.img_attn.qkv.
    """

    changes: Mapping[str, Change]

    @property
    def layers(self) -> Mapping[str, Layer]:
        """The changes of a plain LoRA; an adapter that is not one is refused by name."""
        layers = {name: change for name, change in self.changes.items() if isinstance(change, Layer)}
        others = [name for name in self.changes if name not in layers]
        if others:
            raise AdapterFileError(
                f"{others[0]} is changed by {a_kind(self.changes[others[0]])} ({len(others)} such module(s)), "
                "and this needs a plain LoRA",
                fix="turn it into a LoRA first: flux-lora resize",
            )
        return layers

    @property
    def ranks(self) -> tuple[int, ...]:
        """Every rank of its LoRAs, smallest first."""
        return tuple(sorted({change.rank for change in self.changes.values() if isinstance(change, Layer)}))

    @property
    def alphas(self) -> tuple[float, ...]:
        """Every alpha of its LoRAs, smallest first."""
        return tuple(sorted({change.alpha for change in self.changes.values() if isinstance(change, Layer)}))


def delta(layer: Layer) -> Tensor:
    """What the layer adds to the weight: OI, float32."""
    return delta_of(layer)


def scaled(adapter: Adapter, strength: float) -> Adapter:
    """The same adapter, stronger or weaker."""
    return Adapter({name: times(change, strength) for name, change in adapter.changes.items()})


def rounded(adapter: Adapter, dtype: torch.dtype) -> Adapter:
    """The adapter in float32, with the values that a file of this dtype can hold."""
    return Adapter(
        {name: on_tensors(change, lambda tensor: tensor.to(dtype).float()) for name, change in adapter.changes.items()}
    )


def size(layer: Layer) -> float:
    """Frobenius norm of the change, without building it.

    |up down|^2 = trace(up' up  down down')
    """
    return abs(layer.scale) * _norm(layer.up, layer.down)


def distance(one: Layer, other: Layer) -> float:
    """Frobenius norm of the difference of two changes: up_1 down_1 - up_2 down_2 is itself low-rank."""
    (up_1, down_1), (up_2, down_2) = _used(one), _used(other)
    if up_1.shape == up_2.shape and torch.equal(up_1, up_2) and torch.equal(down_1, down_2):
        return 0.0
    return _norm(torch.cat([up_1, -up_2], dim=1), torch.cat([down_1, down_2]))


def _used(layer: Layer) -> tuple[Tensor, Tensor]:
    """`up`, scaled, and `down` in float64, without what is multiplied by zeros alone: q's share of a fused qkv has
    two thirds of those."""
    columns = layer.up.bool().any(dim=0)
    return layer.up[:, columns].double() * layer.scale, layer.down[columns].double()


def _norm(up: Tensor, down: Tensor) -> float:
    up, down = up.double(), down.double()
    return ((up.T @ up) * (down @ down.T)).sum().clamp(min=0).sqrt().item()
