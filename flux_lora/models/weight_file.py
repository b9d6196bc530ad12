"""The tensors of a model's files: shapes from their headers, and the numbers that they stand for.

safetensors in 16 or 32 bits or packed (packed_weights.py), and GGUF. Files are mapped: nothing is read before it is
used, and nothing of them is ever copied whole.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from flux_lora.errors import ModelError
from flux_lora.models import gguf_file
from flux_lora.models.packed_weights import is_beside, is_unread, state_of, whole, whole_shape
from flux_lora.models.pipeline_folder import broken_files_explained

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
    """A file of weights, or several of one model, their headers read."""

    file: Path
    """Or the folder."""
    shapes: Sides
    """Of whole tensors, without what only belongs to others."""
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
    return weights_in(file, [file])


def weights_in(place: Path, files: Sequence[Path]) -> WeightFile:
    """The tensors of one model in safetensors files; `place` is what messages call them. Raises ModelError where they
    cannot be read."""
    with _opened(place, files) as where:
        unread = next((n for n in where if is_unread(n, where[n].get_slice(n).get_dtype(), where)), "")
        if unread:
            raise ModelError(f"{place} holds weights packed in a way that is not read ({unread})", fix=GIVE_ANOTHER)
        shapes = {name: _shape(name, where) for name in where if not is_beside(name)}

    @contextmanager
    def reading() -> Iterator[Read]:
        with _opened(place, files) as where:
            yield lambda name: whole(name, lambda each: where[each].get_tensor(each), where)

    return WeightFile(place, shapes, reading)


def tensors_of(weights: WeightFile) -> Iterator[tuple[str, Tensor]]:
    """Name and tensor, one after the other; nothing is read before it is used."""
    with weights.opened() as read:
        for name in weights.shapes:
            yield name, read(name)


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


@contextmanager
def _opened(place: Path, files: Sequence[Path]) -> Iterator[Mapping[str, Any]]:
    """Each tensor's file, open."""
    with broken_files_explained(place), ExitStack() as stack:
        opened = [stack.enter_context(safe_open(file, framework="pt")) for file in files]
        yield {name: each for each in opened for name in each.keys()}  # noqa: SIM118  no mapping


def _shape(name: str, where: Mapping[str, Any]) -> tuple[int, ...]:
    state = state_of(name, where)
    return whole_shape(where[state].get_tensor(state)) if state else tuple(where[name].get_slice(name).get_shape())


def blocks_in(shapes: Mapping[str, object], before: str) -> int:
    """How many blocks there are of a list whose name these tensors begin with."""
    return len({name.removeprefix(before).partition(".")[0] for name in shapes if name.startswith(before)})
