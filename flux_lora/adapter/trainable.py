"""What is trained: which linear layers, which parameters of each layer type, and the delta that their values are.

A new trainable layer type is a class here and its injection in attach.py; the learner knows only the protocol.

Shape letters: R rank, I inputs and O outputs of the linear layer that is changed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from flux_lora.adapter.dialects.module_names import BLOCK_TYPES, REST
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


BLOCKS: Mapping[str, str] = {short: name for name, short in BLOCK_TYPES.items() if name != REST}
"""What adapter.blocks calls a list of blocks -> diffusers' name of it."""
SAID = re.compile(rf"({'|'.join(BLOCKS)})(?:\.(\d+)(?:-(\d+))?)?")


def matching_layers(
    names: Iterable[str], targets: str, groups: LayerGroups, *, blocks: Sequence[str] = (), unused: str = ""
) -> list[str]:
    """The names that the targets mean, in the order given; what training never reads (`unused`) is left out.

    `blocks` leaves those in some blocks only: "double", "single.7", "single.20-30". ConfigError where one of them names
    no layer, or the targets none.
    """
    pattern, never = re.compile(groups[targets]), re.compile(unused or r"(?!)")
    found = [name for name in names if pattern.fullmatch(name) and not never.fullmatch(name)]
    if found and blocks:
        wanted = {said: [name for name in found if _is_in(name, said)] for said in blocks}
        empty = [said for said, layers in wanted.items() if not layers]
        if empty:
            raise ConfigError(
                f"adapter.blocks names {empty[0]!r}, in which nothing is trained; there are {_blocks_of(found)}",
                fix="write a list such as adapter.blocks=[double,single.7,single.20-30]",
            )
        found = [name for name in found if any(name in layers for layers in wanted.values())]
    if not found:
        raise ConfigError(
            f"adapter.targets is {targets}, which names no layer of this base",
            fix="set model.path to a FLUX transformer in the diffusers layout",
        )
    return found


def _is_in(name: str, said: str) -> bool:
    """Whether a layer is in the blocks that these words mean."""
    words, place = SAID.fullmatch(said), name.split(".")
    if words is None or place[0] != BLOCKS[words[1]]:
        return False
    first = int(words[2] or 0)
    last = int(words[3] or first) if words[2] else int(place[1])
    return first <= int(place[1]) <= last


def _blocks_of(names: Iterable[str]) -> str:
    """As in "double.0-18 and single.0-37"."""
    numbers = {
        said: [int(name.split(".")[1]) for name in names if name.startswith(f"{blocks}.")]
        for said, blocks in BLOCKS.items()
    }
    return " and ".join(f"{said}.0-{max(each)}" for said, each in numbers.items() if each)
