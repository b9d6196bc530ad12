"""An adapter as tensors, free of any model and of any file's naming.

Shape letters: R rank, I inputs and O outputs of the linear layer that is changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Layer:
    """The low-rank change of one linear layer: alpha / rank * up @ down is added to its weight."""

    down: Tensor  # RI
    up: Tensor  # OR
    alpha: float

    @property
    def rank(self) -> int:
        """The width of the path."""
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        """What up @ down is multiplied by."""
        return self.alpha / self.rank


@dataclass(frozen=True)
class Adapter:
    """A LoRA. The names are those of diffusers' transformer: transformer_blocks.0.attn.to_q."""

    layers: Mapping[str, Layer]

    @property
    def ranks(self) -> tuple[int, ...]:
        """Every rank that occurs, smallest first."""
        return tuple(sorted({layer.rank for layer in self.layers.values()}))

    @property
    def alphas(self) -> tuple[float, ...]:
        """Every alpha that occurs, smallest first."""
        return tuple(sorted({layer.alpha for layer in self.layers.values()}))


def delta(layer: Layer) -> Tensor:
    """What the layer adds to the weight: OI, float32."""
    return layer.scale * (layer.up.float() @ layer.down.float())


def scaled(adapter: Adapter, strength: float) -> Adapter:
    """The same adapter, stronger or weaker."""
    return Adapter({name: replace(layer, alpha=layer.alpha * strength) for name, layer in adapter.layers.items()})


def folded(adapter: Adapter) -> Adapter:
    """The same change with the scale inside `up`, so that alpha is the rank and every reader's scale is 1."""
    return Adapter(
        {
            name: Layer(layer.down, (layer.up.float() * layer.scale).to(layer.up.dtype), float(layer.rank))
            for name, layer in adapter.layers.items()
        }
    )


def rounded(adapter: Adapter, dtype: torch.dtype) -> Adapter:
    """The adapter in float32, with the values that a file of this dtype can hold."""
    return Adapter(
        {
            name: replace(layer, down=layer.down.to(dtype).float(), up=layer.up.to(dtype).float())
            for name, layer in adapter.layers.items()
        }
    )


def size(layer: Layer) -> float:
    """Frobenius norm of the change, without building it.

    |up down|^2 = trace(up' up  down down')
    """
    return abs(layer.scale) * _norm(layer.up, layer.down)


def distance(one: Layer, other: Layer) -> float:
    """Frobenius norm of the difference of two changes: up_1 down_1 - up_2 down_2 is itself low-rank."""
    up = torch.cat([one.up.double() * one.scale, other.up.double() * -other.scale], dim=1)
    return _norm(up, torch.cat([one.down.double(), other.down.double()]))


def _norm(up: Tensor, down: Tensor) -> float:
    up, down = up.double(), down.double()
    return ((up.T @ up) * (down @ down.T)).sum().clamp(min=0).sqrt().item()
