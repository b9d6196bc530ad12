"""Which programs will take a file, which will not, and why."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from flux_lora.adapter.header import printable
from flux_lora.adapter.kinds import Layer
from flux_lora.adapter.readers.architecture import flux1_shapes
from flux_lora.adapter.readers.comfyui import COMFYUI, FORGE
from flux_lora.adapter.readers.consumed import Consumed, Reader
from flux_lora.adapter.readers.diffusers import DIFFUSERS, DIFFUSERS_032
from flux_lora.adapter.readers.sdscripts import SD_SCRIPTS
from flux_lora.adapter.readers.spelling import ALPHA, Module, modules_of

READERS: tuple[Reader, ...] = (DIFFUSERS, DIFFUSERS_032, COMFYUI, FORGE, SD_SCRIPTS)
Takes = Literal["all", "part", "wrong", "none"]
LONGEST_REASON = 300


@dataclass(frozen=True)
class Verdict:
    """How one program does with a file."""

    reader: str
    takes: Takes
    reason: str


def verdicts(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], names: Collection[str] = ()
) -> tuple[Verdict, ...]:
    """What each program does with this file, on a base with these linear layers (FLUX.1-dev's if none are given)."""
    layers = names or flux1_shapes()
    found = [(reader, reader.consume(tensors, metadata, layers)) for reader in READERS]
    return tuple(_verdict(reader, consumed, tensors, known=bool(names)) for reader, consumed in found)


def _verdict(reader: Reader, consumed: Consumed, tensors: Mapping[str, Tensor], *, known: bool) -> Verdict:
    whole = modules_of(tensors)
    lost = modules_of({key: tensors[key] for key in consumed.unused if not key.endswith(ALPHA)})
    read = len(whole) - len(lost)
    if consumed.stopped:
        return Verdict(reader.name, "none", printable(consumed.stopped))
    if not consumed.changes:
        return Verdict(reader.name, "none", f"knows none of the {len(whole)} module names, and may say nothing")
    if consumed.wrong:
        return Verdict(reader.name, "wrong", printable(consumed.wrong))
    torn = {stem: module for stem, module in lost.items() if len(module.tensors) < len(_weights(whole[stem]))}
    if torn:
        stem, left = next(iter(torn.items()))
        said = f"leaves {next(iter(left.tensors))} out of {len(torn)} modules and applies the rest of them"
        return Verdict(reader.name, "wrong", printable(f"{said}, first {stem}", LONGEST_REASON))
    but = "" if known or _fits_flux1(consumed) else "; but its base is not as wide as FLUX.1"
    if lost:
        reason = f"takes {read} of {len(whole)} modules and leaves the rest, first {printable(min(lost))}"
        return Verdict(reader.name, "part", reason + but)
    return Verdict(reader.name, "all", f"takes all {len(whole)} modules as they were trained{but}")


def _weights(module: Module) -> list[str]:
    return [ending for ending in module.tensors if ending != ALPHA]


def _fits_flux1(consumed: Consumed) -> bool:
    shapes = flux1_shapes()
    layers = {name: change for name, change in consumed.changes.items() if isinstance(change, Layer)}
    return all(shapes.get(name, layer.shape) == layer.shape for name, layer in layers.items())
