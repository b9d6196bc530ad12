"""What is trained: which linear layers, which parameters of each layer type, and the delta that their values are.

A new trainable layer type is a class here and its injection in attach.py; the learner knows only the protocol.

Shape letters: R rank, I inputs and O outputs of the linear layer that is changed.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from flux_lora.adapter.layer_types import LayerDelta, LoRA
from flux_lora.errors import ConfigError
from flux_lora.models.family import LayerGroups


class TrainableLayer(Protocol):
    """The parameters of one layer inside a model, in the model's dtype."""

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """In an order that is always the same."""
        ...

    def values(self, delta: LayerDelta) -> tuple[Tensor, ...]:
        """The tensors of a delta of this type, in the order of `parameters`."""
        ...

    def delta(self, values: Sequence[Tensor]) -> LayerDelta:
        """The delta that has these values, given in the order of `parameters`."""
        ...


@dataclass(frozen=True)
class TrainableLoRA:
    """down and up of a LoRA; alpha is fixed."""

    down: nn.Parameter  # RI
    up: nn.Parameter  # OR
    alpha: float

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """down RI, up OR."""
        return self.down, self.up

    def values(self, delta: LayerDelta) -> tuple[Tensor, ...]:
        """down RI, up OR."""
        assert isinstance(delta, LoRA), "the layer was attached as a LoRA"
        return delta.down, delta.up

    def delta(self, values: Sequence[Tensor]) -> LayerDelta:
        """A LoRA with this layer's alpha."""
        down, up = values
        return LoRA(down, up, self.alpha)


def matching_layers(names: Iterable[str], targets: str, groups: LayerGroups, *, unused: str = "") -> list[str]:
    """The names that the targets mean, in the order given; what training never reads (`unused`) is left out."""
    pattern, never = re.compile(groups[targets]), re.compile(unused or r"(?!)")
    found = [name for name in names if pattern.fullmatch(name) and not never.fullmatch(name)]
    if not found:
        raise ConfigError(
            f"adapter.targets is {targets}, which names no layer of this base",
            fix="set model.path to a FLUX transformer in the diffusers layout",
        )
    return found
