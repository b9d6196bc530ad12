"""A transformer out of one file, as Black Forest Labs, ComfyUI and most derivatives ship it.

BFL's names or diffusers', bare or behind a prefix, alone or with VAE and text encoders in one checkpoint; in 16 or 32
bits, or in 8-bit floats, plain or with a scale for each tensor (ComfyUI's "scaled fp8"). Which model it is follows from
the tensors. The file is mapped: nothing is read before it is used, and nothing of it is ever copied whole.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from flux_lora.errors import ModelError
from flux_lora.models.fused_weight import FusedWeight
from flux_lora.models.pipeline_folder import broken_files_explained

PREFIXES = ("model.diffusion_model.", "diffusion_model.", "transformer.", "")
"""Before the transformer's names. Behind any but the last there may be other models in the same file."""
BFL_MARK, DIFFUSERS_MARK = "img_in.weight", "x_embedder.weight"
SCALES = (".scale_weight", ".weight_scale")
"""Endings of what an 8-bit weight is to be multiplied by."""
BESIDE = (".scale_input", ".input_scale", ".comfy_quant")
"""Endings of what matters to 8-bit arithmetic only."""
MARKS = ("scaled_fp8",)
EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)
PACKED = (".weight.quant_state.bitsandbytes__nf4", ".weight.absmax", ".weight_scale_2")
"""Endings that stand beside weights of four bits."""
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
GIVE_ANOTHER = "give the model's file in 16 bits or in fp8, as safetensors, or a diffusers folder"

Read = Callable[[str], Tensor]
Sides = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by diffusers' names."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a family's file is known and read by."""

    model: str
    """What messages call it."""
    config_class: str
    """diffusers' class of it, as a config.json names it."""
    fused: Mapping[str, FusedWeight]
    """BFL's linear layers by BFL's name."""
    told_by: tuple[str, ...]
    """Tensors whose shapes tell the model's sizes."""
    settings: Callable[[Sides], Mapping[str, Any]]
    """What its config.json would say, of shapes that have all of told_by; a ValueError says what is another model's."""


@dataclass(frozen=True)
class SingleFile:
    """A file with a transformer in it."""

    file: Path
    prefix: str
    shapes: Mapping[str, tuple[int, ...]]
    """Of its tensors, by names without the prefix."""
    layout: Layout

    @property
    def native(self) -> bool:
        """Whether it has BFL's names."""
        return BFL_MARK in self.shapes


def is_single_file(path: str) -> bool:
    """Whether a path names a file of weights."""
    return Path(path).expanduser().is_file()


def open_single_file(path: str, layout: Layout) -> SingleFile:
    """Its header. Raises ModelError where it holds no transformer that can be read."""
    file = Path(path).expanduser()
    if file.suffix.lower() != ".safetensors":
        raise ModelError(f"{file} is no safetensors file, and others are not read", fix=GIVE_ANOTHER)
    with broken_files_explained(file), safe_open(file, framework="pt") as opened:
        shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    for prefix in PREFIXES:
        own = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
        if BFL_MARK in own or DIFFUSERS_MARK in own:
            packed = next((name for name in own if name.endswith(PACKED)), "")
            if packed:
                raise ModelError(f"{file} holds weights packed in 4 bits ({packed})", fix=GIVE_ANOTHER)
            return SingleFile(file, prefix, own, layout)
    raise ModelError(f"{file} holds no {layout.model} transformer", fix=GIVE_ANOTHER)


def settings_of(single: SingleFile) -> Mapping[str, Any]:
    """What its config.json would say: of one beside it, else by its shapes."""
    beside = single.file.parent / "config.json"
    if beside.is_file():
        try:
            kept = json.loads(beside.read_text(encoding="utf-8"))
        except ValueError:
            kept = {}  # another program's, or damaged: the shapes tell as much
        if isinstance(kept, dict) and kept.get("_class_name") == single.layout.config_class:
            return {name: value for name, value in kept.items() if not name.startswith("_")}
    shapes = single.shapes if not single.native else dict(_renamed_shapes(single))
    missing = [name for name in single.layout.told_by if name not in shapes]
    if missing:
        raise ModelError(f"{single.file} has no {missing[0]}: it is not whole, or another model", fix=GIVE_ANOTHER)
    try:
        return single.layout.settings(shapes)
    except ValueError as error:
        raise ModelError(
            f"{single.file} {error}", fix=f"give a text-to-image model of {single.layout.model}"
        ) from error


def tensors_in(single: SingleFile) -> Iterator[tuple[str, Tensor]]:
    """diffusers' names and their tensors, one after the other; 8-bit weights as the numbers that they stand for."""
    with safe_open(single.file, framework="pt") as opened:

        def read(name: str) -> Tensor:
            return _unscaled(name, opened.get_tensor(single.prefix + name), single, opened.get_tensor)

        for name in single.shapes:
            if not _is_beside(name):
                yield from _renamed(name, read, single) if single.native else [(name, read(name))]


def _unscaled(name: str, tensor: Tensor, single: SingleFile, get: Read) -> Tensor:
    """The numbers of an 8-bit weight, times its scale if it has one; other tensors as they are."""
    if tensor.dtype not in EIGHT_BITS:
        return tensor
    layer = name.removesuffix(".weight")
    scale = next((layer + ending for ending in SCALES if layer + ending in single.shapes), "")
    whole = tensor.to(torch.float32)
    return (whole * get(single.prefix + scale).float() if scale else whole).to(torch.bfloat16)


def _is_beside(name: str) -> bool:
    return name in MARKS or name.endswith((*SCALES, *BESIDE))


def _renamed(name: str, read: Read, single: SingleFile) -> Iterator[tuple[str, Tensor]]:
    """One of BFL's tensors as diffusers' one or several."""
    parts, rows = _parts_of(name, single)
    tensor = read(name)
    if not rows:
        first, second = tensor.chunk(2)
        yield parts[0], torch.cat([second, first])
        return
    yield from zip(parts, tensor.split(rows), strict=True)


def _renamed_shapes(single: SingleFile) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, shape in single.shapes.items():
        if not _is_beside(name):
            parts, rows = _parts_of(name, single)
            yield from ((part, (count, *shape[1:])) for part, count in zip(parts, rows or [shape[0]], strict=True))


def _parts_of(name: str, single: SingleFile) -> tuple[Sequence[str], Sequence[int]]:
    """diffusers' names of a tensor of BFL's, and the rows of each; no rows where its halves change places."""
    layer, _, attribute = name.rpartition(".")
    rows = single.shapes[name][0]
    block, _, within = layer.partition(".")
    number, _, within = within.partition(".")
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


def blocks_in(shapes: Mapping[str, object], before: str) -> int:
    """How many blocks there are of a list whose name these tensors begin with."""
    return len({name.removeprefix(before).partition(".")[0] for name in shapes if name.startswith(before)})
