"""Where in the model a layer is: the block it belongs to, and what it does there."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flux_lora.adapter.kinds import DoRA, LayerDelta, LoHa, LoKr, LoRA, type_name

PLACES = (
    (r"transformer_blocks\.\d+\.attn\.to_(?!add_).+|double_blocks\.\d+\.img_attn\..+", "image attention"),
    (r"transformer_blocks\.\d+\.attn\.(add_.+|to_add_out)|double_blocks\.\d+\.txt_attn\..+", "text attention"),
    (r"transformer_blocks\.\d+\.ff\..+|double_blocks\.\d+\.img_mlp\..+", "image mlp"),
    (r"transformer_blocks\.\d+\.norm1\.linear|double_blocks\.\d+\.img_mod\.lin", "image modulation"),
    (r"transformer_blocks\.\d+\.norm1_context\.linear|double_blocks\.\d+\.txt_mod\.lin", "text modulation"),
    (r"transformer_blocks\.\d+\.ff_context\..+|double_blocks\.\d+\.txt_mlp\..+", "text mlp"),
    (r"single_transformer_blocks\.\d+\.attn\..+", "single attention"),
    (r"single_transformer_blocks\.\d+\.proj_mlp", "single mlp"),
    (r"single_blocks\.\d+\.linear1", "single attention and mlp"),
    (r"single_transformer_blocks\.\d+\.proj_out|single_blocks\.\d+\.linear2", "single output"),
    (r"single_transformer_blocks\.\d+\.norm\.linear|single_blocks\.\d+\.modulation\.lin", "single modulation"),
    (r"(x|context|time_text)_embed.*|(img|txt|time|vector|guidance)_in(\..+)?", "embedders"),
    (r"proj_out|norm_out\.linear|final_layer\..+", "final layer"),
    (r"text_encoder\..+", "CLIP text encoder"),
    (r"text_encoder_2\..+", "T5 text encoder"),
)
"""Layers by diffusers' names and, where a change cannot be split into those, by Black Forest Labs'."""
OTHER = "other"
BLOCK = re.compile(r"(single_transformer_blocks|transformer_blocks|double_blocks|single_blocks)[._](\d+)")
SAME_BLOCK = {"double_blocks": "transformer_blocks", "single_blocks": "single_transformer_blocks"}


@dataclass(frozen=True)
class Group:
    """The layers of one place in the model."""

    place: str
    layers: int
    kinds: tuple[str, ...]
    ranks: tuple[int, ...]
    """Smallest first; empty where a kind has none."""
    alphas: tuple[float, ...]


def layer_place(name: str) -> str:
    """What a layer does, in which stream."""
    return next((place for pattern, place in PLACES if re.fullmatch(pattern, name)), OTHER)


def block_of(name: str) -> str:
    """The block of a layer, as diffusers counts them: single_transformer_blocks.7, or `rest`."""
    found = BLOCK.search(name)
    return f"{SAME_BLOCK.get(found[1], found[1])}.{found[2]}" if found else "rest"


def groups_of(changes: Mapping[str, LayerDelta]) -> tuple[Group, ...]:
    """The layers by place, in the order of the model."""
    found: defaultdict[str, list[LayerDelta]] = defaultdict(list)
    for name, change in changes.items():
        found[layer_place(name)].append(change)
    order = [*(place for _, place in PLACES), OTHER]
    return tuple(_group(place, found[place]) for place in sorted(found, key=order.index))


def rank_and_alpha(change: LayerDelta) -> tuple[int, float] | None:
    """Of what has them: a turn has none, and a LoKr of whole factors has none that counts."""
    match change:
        case LoRA():
            return change.rank, change.alpha
        case DoRA():
            return change.lora.rank, change.lora.alpha
        case LoKr() | LoHa() if change.rank:
            return change.rank, change.alpha
    return None


def distinct(numbers: Iterable[float]) -> tuple[float, ...]:
    """Each number once, smallest first. NaN is not even itself, and is told once all the same, last."""
    found = set(numbers)
    known = sorted(number for number in found if not math.isnan(number))
    return (*known, *([math.nan] if len(known) < len(found) else []))


def _group(place: str, changes: list[LayerDelta]) -> Group:
    known = [each for each in map(rank_and_alpha, changes) if each]
    return Group(
        place,
        len(changes),
        tuple(sorted({type_name(change) for change in changes})),
        tuple(sorted({rank for rank, _ in known})),
        distinct(alpha for _, alpha in known),
    )
