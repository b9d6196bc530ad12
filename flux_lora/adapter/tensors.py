"""An adapter as tensors, free of any model and of any file's naming.

Shape letters: R rank, I inputs and O outputs of the linear layer that is changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from flux_lora.adapter.kinds import LayerDelta, LoRA, at_strength, delta_of, map_tensors, type_with_article
from flux_lora.errors import AdapterFileError


@dataclass(frozen=True)
class Adapter:
    """One change per linear layer. The names are those of diffusers' transformer: transformer_blocks.0.attn.to_q.

    Kinds other than LoRA cannot be split when they were trained on a fused layer; those keep
    its name in FLUX's own model: double_blocks.0.img_attn.qkv.
    """

    deltas: Mapping[str, LayerDelta]

    @property
    def layers(self) -> Mapping[str, LoRA]:
        """The changes of a plain LoRA; an adapter that is not one is refused by name."""
        layers = {name: change for name, change in self.deltas.items() if isinstance(change, LoRA)}
        others = [name for name in self.deltas if name not in layers]
        if others:
            raise AdapterFileError(
                f"{others[0]} is changed by {type_with_article(self.deltas[others[0]])} "
                f"({len(others)} such module(s)), and this needs a plain LoRA",
                fix="turn it into a LoRA first: flux-lora resize",
            )
        return layers

    @property
    def ranks(self) -> tuple[int, ...]:
        """Every rank of its LoRAs, smallest first."""
        return tuple(sorted({change.rank for change in self.deltas.values() if isinstance(change, LoRA)}))

    @property
    def alphas(self) -> tuple[float, ...]:
        """Every alpha of its LoRAs, smallest first."""
        return tuple(sorted({change.alpha for change in self.deltas.values() if isinstance(change, LoRA)}))


def lora_delta(layer: LoRA) -> Tensor:
    """What the layer adds to the weight: OI, float32."""
    return delta_of(layer)


def adapter_at_strength(adapter: Adapter, strength: float) -> Adapter:
    """The same adapter, stronger or weaker."""
    return Adapter({name: at_strength(change, strength) for name, change in adapter.deltas.items()})


def rounded(adapter: Adapter, dtype: torch.dtype) -> Adapter:
    """The adapter in float32, with the values that a file of this dtype can hold."""
    return Adapter(
        {name: map_tensors(change, lambda tensor: tensor.to(dtype).float()) for name, change in adapter.deltas.items()}
    )


def frobenius_norm(layer: LoRA) -> float:
    """Frobenius norm of the change, without building it.

    |up down|^2 = trace(up' up  down down')
    """
    return abs(layer.scale) * _norm(layer.up, layer.down)


def delta_distance(one: LoRA, other: LoRA) -> float:
    """Frobenius norm of the difference of two changes: up_1 down_1 - up_2 down_2 is itself low-rank."""
    (up_1, down_1), (up_2, down_2) = _used(one), _used(other)
    if up_1.shape == up_2.shape and torch.equal(up_1, up_2) and torch.equal(down_1, down_2):
        return 0.0
    return _norm(torch.cat([up_1, -up_2], dim=1), torch.cat([down_1, down_2]))


def _used(layer: LoRA) -> tuple[Tensor, Tensor]:
    """`up`, scaled, and `down` in float64, without what is multiplied by zeros alone: q's share of a fused qkv has
    two thirds of those."""
    columns = layer.up.bool().any(dim=0)
    return layer.up[:, columns].double() * layer.scale, layer.down[columns].double()


def _norm(up: Tensor, down: Tensor) -> float:
    up, down = up.double(), down.double()
    return ((up.T @ up) * (down @ down.T)).sum().clamp(min=0).sqrt().item()
