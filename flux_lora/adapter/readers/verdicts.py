"""Which programs will take a file, which will not, and why."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from flux_lora.adapter.header import printable
from flux_lora.adapter.kinds import LoRA
from flux_lora.adapter.readers.architecture import flux1_shapes
from flux_lora.adapter.readers.comfyui import COMFYUI, FORGE
from flux_lora.adapter.readers.consumed import Loader, LoadResult
from flux_lora.adapter.readers.diffusers import DIFFUSERS, DIFFUSERS_032
from flux_lora.adapter.readers.sdscripts import SD_SCRIPTS
from flux_lora.adapter.readers.spelling import ALPHA, Module, modules_of

LOADERS: tuple[Loader, ...] = (DIFFUSERS, DIFFUSERS_032, COMFYUI, FORGE, SD_SCRIPTS)
Takes = Literal["all", "part", "wrong", "none"]
LONGEST_REASON = 300


@dataclass(frozen=True)
class Compatibility:
    """How one program does with a file."""

    reader: str
    takes: Takes
    reason: str


def compatibility(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str] = ()
) -> tuple[Compatibility, ...]:
    """What each program does with this file, on a base with these linear layers (FLUX.1-dev's if none are given)."""
    layers = names or flux1_shapes()
    found = [(reader, reader.load(tensors, metadata, layers)) for reader in LOADERS]
    return tuple(_verdict(reader, consumed, tensors, known=bool(names)) for reader, consumed in found)


def _verdict(reader: Loader, consumed: LoadResult, tensors: Mapping[str, Tensor], *, known: bool) -> Compatibility:
    whole = modules_of(tensors)
    lost = modules_of({key: tensors[key] for key in consumed.unused if not key.endswith(ALPHA)})
    read = len(whole) - len(lost)
    if consumed.stopped:
        return Compatibility(reader.name, "none", printable(consumed.stopped))
    if not consumed.deltas:
        return Compatibility(reader.name, "none", f"knows none of the {len(whole)} module names, and may say nothing")
    if consumed.wrong:
        return Compatibility(reader.name, "wrong", printable(consumed.wrong))
    torn = {stem: module for stem, module in lost.items() if len(module.tensors) < len(_weights(whole[stem]))}
    if torn:
        stem, left = next(iter(torn.items()))
        said = f"leaves {next(iter(left.tensors))} out of {len(torn)} modules and applies the rest of them"
        return Compatibility(reader.name, "wrong", printable(f"{said}, first {stem}", LONGEST_REASON))
    but = "" if known or _fits_flux1(consumed) else "; but its base is not as wide as FLUX.1"
    if lost:
        reason = f"takes {read} of {len(whole)} modules and leaves the rest, first {printable(min(lost))}"
        return Compatibility(reader.name, "part", reason + but)
    return Compatibility(reader.name, "all", f"takes all {len(whole)} modules as they were trained{but}")


def _weights(module: Module) -> list[str]:
    return [ending for ending in module.tensors if ending != ALPHA]


def _fits_flux1(consumed: LoadResult) -> bool:
    shapes = flux1_shapes()
    layers = {name: change for name, change in consumed.deltas.items() if isinstance(change, LoRA)}
    return all(shapes.get(name, layer.shape) == layer.shape for name, layer in layers.items())
