"""What is trained: which linear layers, the parameters of each, and the delta that their values are."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from flux_lora.adapter.dialects.module_names import BLOCK_TYPES, REST, block_of, layer_place
from flux_lora.adapter.layer_types import LayerDelta, tensors_in, with_tensors
from flux_lora.config.schema import AdapterConfig
from flux_lora.errors import ConfigError
from flux_lora.models.family import LayerGroups, ModelFamily


@dataclass(frozen=True)
class TrainableLayer:
    """The parameters of one layer inside a model, in the model's dtype; alpha is fixed."""

    held: LayerDelta
    """The delta whose tensors are the parameters."""

    @property
    def parameters(self) -> tuple[nn.Parameter, ...]:
        """In an order that is always the same."""
        return cast(tuple[nn.Parameter, ...], tensors_in(self.held))

    def values(self, delta: LayerDelta) -> tuple[Tensor, ...]:
        """The tensors of a delta of this type, in the order of `parameters`."""
        assert type(delta) is type(self.held), "the layer was attached as another type"
        return tensors_in(delta)

    def delta(self, values: Sequence[Tensor]) -> LayerDelta:
        """The delta that has these values, given in the order of `parameters`."""
        return with_tensors(self.held, values)


BLOCKS: Mapping[str, str] = {short: name for name, short in BLOCK_TYPES.items() if name != REST}
"""What adapter.blocks calls a list of blocks -> diffusers' name of it."""
PARTS: Mapping[str, str] = {
    "attn": r"(image|text|single) attention",
    "img_attn": r"image attention",
    "txt_attn": r"text attention",
    "mlp": r"(image|text|single) mlp",
    "img_mlp": r"image mlp",
    "txt_mlp": r"text mlp",
    "out": r"single output",
    "mod": r"(image|text|single) modulation",
}
"""What adapter.blocks and adapter.ranks call a part of a block -> pattern of what layer_place calls it."""
SAID = re.compile(rf"({'|'.join(BLOCKS)})(?:\.(\d+)(?:-(\d+))?)?(?:\.({'|'.join(PARTS)}))?")
PARTS_TOLD = f"and of a block the parts {', '.join(PARTS)}"


def trained_ranks(names: Iterable[str], wanted: AdapterConfig, family: ModelFamily) -> dict[str, int]:
    """The layers of a base that get a delta, by name in the order given, and the rank of each.

    Raises ConfigError where adapter.targets, adapter.blocks or adapter.ranks names none.
    """
    groups, unused = family.layer_groups, family.unused_in_training
    layers = matching_layers(names, wanted.targets, groups, blocks=wanted.blocks, unused=unused)
    ranks = dict.fromkeys(layers, wanted.rank)
    for said in wanted.ranks:
        place, _, rank = said.rpartition(":")
        found = [name for name in layers if _is_in(name, place)]
        if not (found and re.fullmatch(r"[1-9]\d*", rank)):
            what = f"in which nothing is trained; there are {_blocks_of(layers)}, {PARTS_TOLD}"
            raise ConfigError(
                f"adapter.ranks names {said!r}, {'which has no rank behind a colon' if found else what}",
                fix="write a list such as adapter.ranks=[double.attn:16,single:8]; later ones override earlier ones",
            )
        ranks |= dict.fromkeys(found, int(rank))
    return ranks


def matching_layers(
    names: Iterable[str], targets: str, groups: LayerGroups, *, blocks: Sequence[str] = (), unused: str = ""
) -> list[str]:
    """The names that the targets mean, in the order given; what training never reads (`unused`) is left out.

    `blocks` leaves those in some blocks or parts of them: "double", "single.7", "single.20-30.out". ConfigError where
    one of them names no layer, or the targets none.
    """
    pattern, never = re.compile(groups[targets]), re.compile(unused or r"(?!)")
    found = [name for name in names if pattern.fullmatch(name) and not never.fullmatch(name)]
    if found and blocks:
        wanted = {said: [name for name in found if _is_in(name, said)] for said in blocks}
        empty = [said for said, layers in wanted.items() if not layers]
        if empty:
            raise ConfigError(
                f"adapter.blocks names {empty[0]!r}, in which nothing is trained; there are {_blocks_of(found)}, "
                f"{PARTS_TOLD}",
                fix="write a list such as adapter.blocks=[double,single.7,single.20-30.out]",
            )
        found = [name for name in found if any(name in layers for layers in wanted.values())]
    if not found:
        raise ConfigError(
            f"adapter.targets is {targets}, which names no layer of this base",
            fix="set model.path to a FLUX transformer in the diffusers layout",
        )
    return found


def _is_in(name: str, said: str) -> bool:
    """Whether a layer is in the blocks and the part that these words mean."""
    words, (blocks, _, number) = SAID.fullmatch(said), block_of(name).rpartition(".")
    if words is None or blocks != BLOCKS[words[1]]:
        return False
    first = int(words[2] or 0)
    last = int(words[3] or first) if words[2] else int(number)
    in_part = not words[4] or bool(re.fullmatch(PARTS[words[4]], layer_place(name)))
    return in_part and first <= int(number) <= last


def _blocks_of(names: Iterable[str]) -> str:
    """As in "double.0-18 and single.0-37"."""
    numbers = {
        said: [int(block_of(name).rpartition(".")[2]) for name in names if name.startswith(f"{blocks}.")]
        for said, blocks in BLOCKS.items()
    }
    return " and ".join(f"{said}.0-{max(each)}" for said, each in numbers.items() if each)
