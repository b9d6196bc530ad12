"""The tensors of one file: shapes from its header, and the numbers that they stand for.

Weights in 16 or 32 bits, or in 8-bit floats, plain or with a scale for each tensor (ComfyUI's "scaled fp8"), or
in a GGUF file. The file is mapped: nothing is read before it is used, and nothing of it is ever copied whole.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from flux_lora.errors import ModelError
from flux_lora.models import gguf_file
from flux_lora.models.pipeline_folder import broken_files_explained

SCALES = (".scale_weight", ".weight_scale")
"""Endings of what an 8-bit weight is to be multiplied by."""
BESIDE = (".scale_input", ".input_scale", ".comfy_quant")
"""Endings of what matters to 8-bit arithmetic only."""
MARKS = ("scaled_fp8",)
EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)
PACKED = (".weight.quant_state.bitsandbytes__nf4", ".weight.absmax", ".weight_scale_2")
"""Endings that stand beside weights of four bits."""
GIVE_ANOTHER = "give the model's file in 16 bits or in fp8, as safetensors, or a diffusers folder"
KNOWN_BY: Mapping[str, tuple[str, str]] = {
    ".lora_down.weight": ("a LoRA", "adapter.start"),
    ".lora_A.weight": ("a LoRA", "adapter.start"),
    "img_in.weight": ("a transformer", "model.transformer"),
    "x_embedder.weight": ("a transformer", "model.transformer"),
    "model.diffusion_model.input_blocks.0.0.weight": ("a Stable Diffusion checkpoint", ""),
    "decoder.conv_in.weight": ("a VAE", "model.vae"),
    "SelfAttention.relative_attention_bias.weight": ("T5", "model.text_encoder_2"),
    "embeddings.position_embedding.weight": ("CLIP", "model.text_encoder"),
    "layers.0.self_attn.q_norm.weight": ("Qwen3", "model.text_encoder"),
}
"""Ending of a tensor's name -> what has it, and the key that takes such a file."""

Read = Callable[[str], Tensor]
Sides = Mapping[str, tuple[int, ...]]
"""Shapes of tensors by name."""


@dataclass(frozen=True)
class WeightFile:
    """A file of weights, its header read."""

    file: Path
    shapes: Sides
    """Without what only scales others."""
    opened: Callable[[], AbstractContextManager[Read]]
    """Name -> tensor, as the numbers that it stands for."""
    architecture: str = ""
    """The model by the file's own word, where it has one."""

    def under(self, prefix: str) -> "WeightFile":
        """What has names with this before them, without it."""
        if not prefix:
            return self

        @contextmanager
        def opened() -> Iterator[Read]:
            with self.opened() as read:
                yield lambda name: read(prefix + name)

        own = {name.removeprefix(prefix): shape for name, shape in self.shapes.items() if name.startswith(prefix)}
        return replace(self, shapes=own, opened=opened)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What a part of a model is known and read by."""

    model: str
    """What messages call it."""
    config_class: str
    """The class that a config.json of it names."""
    told_by: tuple[str, ...]
    """Tensors whose shapes tell its sizes."""
    settings: Callable[[Sides], Mapping[str, Any]]
    """What its config.json would say, of shapes that have all of told_by; a ValueError says what is another model's."""
    wanted: str = ""
    """What to give in place of another model's file; empty is the model for text alone."""


def is_weight_file(path: str) -> bool:
    """Whether a path names a file of weights."""
    return Path(path).expanduser().is_file()


def open_weight_file(path: str) -> WeightFile:
    """Its header. Raises ModelError where it cannot be read."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ModelError(f"{file} is not there", fix="give the path of the file as it is on this disk")
    if file.suffix.lower() == gguf_file.ENDING:
        found = gguf_file.open_gguf_file(file)
        return WeightFile(file, found.shapes, lambda: nullcontext(found.read), found.architecture)
    if file.suffix.lower() != ".safetensors":
        raise ModelError(f"{file} is no safetensors file, and others are not read", fix=GIVE_ANOTHER)
    return _safetensors(file)


def _safetensors(file: Path) -> WeightFile:
    with broken_files_explained(file), safe_open(file, framework="pt") as opened:
        shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    packed = next((name for name in shapes if name.endswith(PACKED)), "")
    if packed:
        raise ModelError(f"{file} holds weights packed in 4 bits ({packed})", fix=GIVE_ANOTHER)

    @contextmanager
    def reading() -> Iterator[Read]:
        with broken_files_explained(file), safe_open(file, framework="pt") as opened:
            yield lambda name: _unscaled(name, opened.get_tensor, shapes)

    return WeightFile(file, {name: shape for name, shape in shapes.items() if not _is_beside(name)}, reading)


def part_in(path: str, model: str, prefixes: Collection[str], marks: Collection[str]) -> WeightFile:
    """What follows the first prefix that stands before one of the marks. Raises ModelError where none does."""
    whole = open_weight_file(path)
    for prefix in prefixes:
        if any(prefix + mark in whole.shapes for mark in marks):
            return whole.under(prefix)
    for ending, (what, key) in KNOWN_BY.items():
        if any(name.endswith(ending) for name in whole.shapes):
            fix = f"set {key}={whole.file}, and here the file of {model}" if key else GIVE_ANOTHER
            raise ModelError(f"{whole.file} holds {what} and no {model}", fix=fix)
    said = f": its architecture is {whole.architecture}" if whole.architecture else ""
    raise ModelError(f"{whole.file} holds no {model}{said}", fix=GIVE_ANOTHER)


def settings_told(file: Path, shapes: Sides, layout: Layout) -> Mapping[str, Any]:
    """What a part's config.json would say: of one beside the file, else by its shapes."""
    if kept := _settings_beside(file, layout.config_class):
        return kept
    missing = [name for name in layout.told_by if name not in shapes]
    if missing:
        raise ModelError(f"{file} has no {missing[0]}: it is not whole, or another model", fix=GIVE_ANOTHER)
    try:
        return layout.settings(shapes)
    except ValueError as error:
        wanted = layout.wanted or f"a text-to-image model of {layout.model}"
        raise ModelError(f"{file} {error}", fix=f"give {wanted}") from error


def _settings_beside(file: Path, config_class: str) -> Mapping[str, Any]:
    """A config.json of this class in the file's folder; another program's, or a damaged one, says nothing."""
    beside = file.parent / "config.json"
    if not beside.is_file():
        return {}
    try:
        kept = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    if not isinstance(kept, dict) or config_class not in (kept.get("_class_name"), *kept.get("architectures", ())):
        return {}
    return {name: value for name, value in kept.items() if not name.startswith("_")}


def _unscaled(name: str, get: Read, names: Collection[str]) -> Tensor:
    """The numbers of an 8-bit weight, times its scale if it has one; other tensors as they are."""
    tensor = get(name)
    if tensor.dtype not in EIGHT_BITS:
        return tensor
    layer = name.removesuffix(".weight")
    scale = next((layer + ending for ending in SCALES if layer + ending in names), "")
    whole = tensor.to(torch.float32)
    return (whole * get(scale).float() if scale else whole).to(torch.bfloat16)


def _is_beside(name: str) -> bool:
    return name.endswith((*MARKS, *SCALES, *BESIDE))


def blocks_in(shapes: Mapping[str, object], before: str) -> int:
    """How many blocks there are of a list whose name these tensors begin with."""
    return len({name.removeprefix(before).partition(".")[0] for name in shapes if name.startswith(before)})
