"""A transformer out of one file, as Black Forest Labs, ComfyUI and most derivatives ship it.

BFL's names or diffusers', bare or behind a prefix, alone or with VAE and text encoders in one checkpoint. Which model
it is follows from the tensors.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from flux_lora.errors import ModelError
from flux_lora.models import weight_file
from flux_lora.models.fused_weight import FusedWeight
from flux_lora.models.weight_file import GIVE_ANOTHER, Sides, WeightFile, part_in, settings_told, tensors_of

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.", "")
"""Before the transformer's names. Behind any but the last there may be other models in the same file."""
BFL_MARK, DIFFUSERS_MARK = "img_in.weight", "x_embedder.weight"
NORMS: Mapping[str, str] = {
    "img_attn.norm.query_norm": "attn.norm_q",
    "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.norm.query_norm": "attn.norm_added_q",
    "txt_attn.norm.key_norm": "attn.norm_added_k",
    "norm.query_norm": "attn.norm_q",
    "norm.key_norm": "attn.norm_k",
}
"""Inside of a block: BFL's name -> diffusers'."""
BLOCKS: Mapping[str, str] = {"double_blocks": "transformer_blocks", "single_blocks": "single_transformer_blocks"}


@dataclass(frozen=True, kw_only=True)
class Layout(weight_file.Layout):
    """What a family's transformer is known and read by; sizes are told by diffusers' names."""

    fused: Mapping[str, FusedWeight]
    """BFL's linear layers by BFL's name."""
    marks: tuple[str, str] = (BFL_MARK, DIFFUSERS_MARK)
    """A tensor that every file of it has, by BFL's name and by diffusers'."""
    norms: Mapping[str, str] = field(default_factory=dict)
    """BFL's norms by whole names -> diffusers', where they are not as NORMS says."""
    left_out: tuple[str, ...] = ()
    """What names of tensors begin with that only its own training used."""


@dataclass(frozen=True)
class SingleFile:
    """A file with a transformer in it."""

    weights: WeightFile
    layout: Layout

    @property
    def file(self) -> Path:
        """Its path."""
        return self.weights.file

    @property
    def shapes(self) -> Sides:
        """Of its tensors, by its own names without a prefix."""
        return self.weights.shapes

    @property
    def native(self) -> bool:
        """Whether it has BFL's names."""
        return self.layout.marks[0] in self.shapes


def open_single_file(path: str, layout: Layout) -> SingleFile:
    """Its header. Raises ModelError where it holds no transformer that can be read."""
    found = part_in(path, f"{layout.model} transformer", PREFIXES, layout.marks)
    own = {name: shape for name, shape in found.shapes.items() if not name.startswith(layout.left_out)}
    return SingleFile(replace(found, shapes=own), layout)


def settings_of(single: SingleFile) -> Mapping[str, Any]:
    """What its config.json would say: of one beside it, else by its shapes."""
    shapes = single.shapes if not single.native else dict(_renamed_shapes(single))
    return settings_told(single.file, shapes, single.layout)


def tensors_in(single: SingleFile) -> Iterator[tuple[str, Tensor]]:
    """diffusers' names and their tensors, one after the other."""
    for name, tensor in tensors_of(single.weights):
        yield from _renamed(name, tensor, single) if single.native else [(name, tensor)]


def _renamed(name: str, tensor: Tensor, single: SingleFile) -> Iterator[tuple[str, Tensor]]:
    """One of BFL's tensors as diffusers' one or several."""
    parts, rows = _parts_of(name, single)
    if not rows:
        first, second = tensor.chunk(2)
        yield parts[0], torch.cat([second, first])
        return
    yield from zip(parts, tensor.split(rows), strict=True)


def _renamed_shapes(single: SingleFile) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, shape in single.shapes.items():
        parts, rows = _parts_of(name, single)
        yield from ((part, (count, *shape[1:])) for part, count in zip(parts, rows or [shape[0]], strict=True))


def _parts_of(name: str, single: SingleFile) -> tuple[Sequence[str], Sequence[int]]:
    """diffusers' names of a tensor of BFL's, and the rows of each; no rows where its halves change places."""
    layer, _, attribute = name.rpartition(".")
    rows = single.shapes[name][0]
    block, _, within = layer.partition(".")
    number, _, within = within.partition(".")
    if name in single.layout.norms:
        return [single.layout.norms[name]], [rows]
    if block in BLOCKS and within in NORMS:
        return [f"{BLOCKS[block]}.{number}.{NORMS[within]}.weight"], [rows]
    weight = single.layout.fused.get(layer)
    if weight is None:
        raise ModelError(
            f"{single.file} has a tensor {name}, which {single.layout.model} has not: it is another model",
            fix=GIVE_ANOTHER,
        )
    parts = [f"{part}.{attribute}" for part in weight.parts]
    if weight.swaps:
        return parts, []
    if len(parts) == 4:  # q, k and v, as wide as the model, and all the rest is the MLP's
        width = single.shapes[BFL_MARK][0]
        return parts, [width, width, width, rows - 3 * width]
    return parts, [rows // len(parts)] * len(parts)
