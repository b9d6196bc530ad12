"""Say what a LoRA file is: its layout, rank, alpha, layers, base and trigger, without any model."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from flux_lora.adapter.files import read_tensors
from flux_lora.adapter.header import FileHeader, read_header
from flux_lora.adapter.tensors import Layer, size
from flux_lora.errors import AdapterFileError

SIDES = (
    (".lora_A.weight", ".lora_B.weight"),
    (".lora_down.weight", ".lora_up.weight"),
    (".lora_A.default.weight", ".lora_B.default.weight"),
    (".lora.down.weight", ".lora.up.weight"),
    (".down", ".up"),
)
LAYOUTS = (
    ("flux_lora checkpoint", r"(single_)?transformer_blocks\..+\.(down|up|alpha)"),
    ("diffusers", r"transformer\..+"),
    ("diffusers without prefix", r"(single_)?transformer_blocks\..+\.lora.+"),
    ("kohya", r"lora_(unet|te\d?)_.+"),
    ("comfyui", r"diffusion_model\..+"),
    ("peft", r"base_model\.model\..+"),
    ("onetrainer", r"lora_transformer_.+"),
    ("bfl", r"(double|single)_blocks\..+"),
    ("lycoris", r"lycoris_.+"),
)
KINDS = (("lokr_", "LoKr"), ("hada_", "LoHa"), ("dora_scale", "DoRA"), ("magnitude", "DoRA"))
BLOCK = re.compile(r"(single_transformer_blocks|transformer_blocks|double_blocks|single_blocks)[._](\d+)")
LONGEST_TEXT = 200


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a file says and holds. Its words are the file's own, made safe to print."""

    kind: str
    """LoRA, DoRA, LoKr, LoHa."""
    layout: str
    dtypes: tuple[str, ...]
    ranks: tuple[int, ...]
    alphas: tuple[float, ...]
    layers: int
    parameters: int
    bytes: int
    trigger: str
    base: str
    title: str
    norms: Mapping[str, float]
    """Length of the change by block: transformer_blocks.0, ..., and `rest`."""
    finite: bool
    metadata: Mapping[str, str]


def describe(file: Path) -> Description:
    """What this file is. Anything that is not a whole LoRA file is an AdapterFileError."""
    header = read_header(file)
    kind = _kind(file, header)
    layers = _layers(read_tensors(file))
    facts = {printable(key): printable(value) for key, value in header.metadata.items()}
    norms = _norms(layers)
    return Description(
        kind=kind,
        layout=_layout(header),
        dtypes=tuple(sorted({entry.dtype for key, entry in header.tensors.items() if not key.endswith(".alpha")})),
        ranks=tuple(sorted({layer.rank for layer in layers.values()})),
        alphas=tuple(sorted({layer.alpha for layer in layers.values()})),
        layers=len(layers),
        parameters=sum(layer.down.numel() + layer.up.numel() for layer in layers.values()),
        bytes=header.bytes,
        trigger=facts.get("modelspec.trigger_phrase", ""),
        base=facts.get("flux_lora.base") or facts.get("modelspec.architecture", ""),
        title=facts.get("modelspec.title") or facts.get("ss_output_name", ""),
        norms=norms,
        finite=all(math.isfinite(norm) for norm in norms.values()),
        metadata=facts,
    )


def printable(text: str) -> str:
    """A stranger's words without the control characters that could move a terminal's cursor."""
    cleaned = "".join(letter if letter.isprintable() else " " for letter in text)
    return cleaned if len(cleaned) <= LONGEST_TEXT else f"{cleaned[:LONGEST_TEXT]}…"


def _kind(file: Path, header: FileHeader) -> str:
    for mark, kind in KINDS:
        if any(mark in key for key in header.tensors):
            return kind
    if any(key.endswith(side) for key in header.tensors for sides in SIDES for side in sides):
        return "LoRA"
    first = printable(min(header.tensors, default="nothing at all"))
    raise AdapterFileError(
        f"{file} holds no LoRA: {len(header.tensors)} tensor(s), first {first!r}",
        fix="give the file of a LoRA; a base model is not one",
    )


def _layout(header: FileHeader) -> str:
    votes = Counter(
        next((name for name, pattern in LAYOUTS if re.fullmatch(pattern, key)), "unknown") for key in header.tensors
    )
    return votes.most_common(1)[0][0]


def _layers(tensors: Mapping[str, Tensor]) -> dict[str, Layer]:
    """Every module that has both sides, whatever the spelling."""
    layers = {}
    for key, down in tensors.items():
        for below, above in SIDES:
            name = key.removesuffix(below)
            up = tensors.get(f"{name}{above}")
            if name == key or up is None or not _matrices(down, up):
                continue
            alpha = tensors.get(f"{name}.alpha", torch.tensor(float(down.shape[0])))
            if alpha.numel() == 1:
                layers[name] = Layer(down, up, alpha.item())
    return layers


def _matrices(down: Tensor, up: Tensor) -> bool:
    """Convolutions and torn pairs have no norm here."""
    return down.ndim == up.ndim == 2 and down.shape[0] == up.shape[1] > 0 and down.is_floating_point()


def _norms(layers: Mapping[str, Layer]) -> dict[str, float]:
    squares: defaultdict[str, float] = defaultdict(float)
    for name, layer in layers.items():
        block = BLOCK.search(name)
        squares[f"{block[1]}.{block[2]}" if block else "rest"] += size(layer) ** 2
    return {block: square**0.5 for block, square in squares.items()}
