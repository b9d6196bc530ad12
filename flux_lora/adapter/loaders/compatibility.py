"""Which programs load a file, which do not, and why."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from flux_lora.adapter.dialects.text_encoders import is_text_encoder
from flux_lora.adapter.header import printable
from flux_lora.adapter.layer_types import LayerDelta, LoRA
from flux_lora.adapter.loaders.comfyui import COMFYUI, FORGE
from flux_lora.adapter.loaders.diffusers import DIFFUSERS, DIFFUSERS_032
from flux_lora.adapter.loaders.keys import ALPHA, Module, StateDict, modules_of
from flux_lora.adapter.loaders.result import Loader, LoadResult
from flux_lora.adapter.loaders.sdscripts import SD_SCRIPTS
from flux_lora.models.family import Shapes
from flux_lora.models.flux1.layers import flux1_shapes
from flux_lora.models.flux2.layers import SIZES, flux2_shapes, has_flux2_layers
from flux_lora.models.flux3.layers import flux3_shapes, has_flux3_layers

LOADERS: Mapping[str, Loader] = {
    loader.name: loader for loader in (DIFFUSERS, DIFFUSERS_032, COMFYUI, FORGE, SD_SCRIPTS)
}
"""By name, as Dialect.loaders names them; in the order in which they are shown."""
Takes = Literal["all", "part", "wrong", "none", "unknown"]
LONGEST_REASON = 300


@dataclass(frozen=True)
class Compatibility:
    """Whether one program loads a file."""

    reader: str
    """The loader's name."""
    takes: Takes
    """all: every module as trained; part: some modules as trained; wrong: at another strength or in part of a module;
    none: an error, or no module; unknown: nobody here has tried."""
    reason: str


def compatibility(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], shapes: Shapes | None = None
) -> tuple[Compatibility, ...]:
    """What each program does with this file, on a base with these linear layers (FLUX.1-dev's if none are given)."""
    shapes = shapes or flux1_shapes()
    tensors = tensors if isinstance(tensors, StateDict) else StateDict(tensors)
    results = [(loader, loader.load(tensors, metadata, shapes)) for loader in LOADERS.values()]
    return tuple(_verdict(loader, result, tensors, shapes) for loader, result in results)


def nearest_shapes(deltas: Mapping[str, LayerDelta]) -> Shapes:
    """The linear layers of the released FLUX that an adapter fits best: in most shapes, then in most names."""
    layers = {name: delta.shape for name, delta in deltas.items() if isinstance(delta, LoRA)}
    released = (flux1_shapes(), *(flux2_shapes(size) for size in SIZES.values()), flux3_shapes(flow_map=True))
    return max(released, key=lambda shapes: (len(layers.items() & shapes.items()), len(deltas.keys() & shapes.keys())))


def _verdict(loader: Loader, result: LoadResult, tensors: Mapping[str, Tensor], shapes: Shapes) -> Compatibility:
    modules = modules_of(tensors)
    if has_flux2_layers(shapes) and not loader.flux2:
        return Compatibility(loader.name, "none", "does not know FLUX.2")
    if has_flux3_layers(shapes) and loader.without_flux3:
        return Compatibility(loader.name, "unknown" if loader is COMFYUI else "none", loader.without_flux3)
    if result.stopped:
        return Compatibility(loader.name, "none", printable(result.stopped))
    if not result.deltas and not result.others:
        return Compatibility(loader.name, "none", f"knows none of the {len(modules)} module names, and may say nothing")
    if result.wrong:
        return Compatibility(loader.name, "wrong", printable(result.wrong))
    lost = _parts(modules, frozenset(result.unused))
    taken = len(modules) - len(lost)
    incomplete = {stem: endings for stem, endings in lost.items() if len(endings) < len(_weights(modules[stem]))}
    if incomplete:
        stem, left = next(iter(incomplete.items()))
        problem = f"leaves {left[0]} out of {len(incomplete)} modules and applies the rest of them"
        return Compatibility(loader.name, "wrong", printable(f"{problem}, first {stem}", LONGEST_REASON))
    notes = _text_note(loader, modules, lost)
    model = "FLUX.3" if has_flux3_layers(shapes) else "FLUX.2" if has_flux2_layers(shapes) else "FLUX.1"
    notes += "" if _fits(result, shapes) else f"; but its base is not as wide as {model}"
    if lost:
        reason = f"takes {taken} of {len(modules)} modules and leaves the rest, first {printable(min(lost))}"
        return Compatibility(loader.name, "part", reason + notes)
    return Compatibility(loader.name, "all", f"takes all {len(modules)} modules as they were trained{notes}")


def _text_note(loader: Loader, modules: Collection[str], lost: Collection[str]) -> str:
    """What becomes of the text encoders' layers; empty where the file has none."""
    of_text = [stem for stem in modules if is_text_encoder(stem)]
    left = sum(stem in lost for stem in of_text)
    if not of_text:
        return ""
    if left == len(of_text):
        return f"; of the text encoders it takes none of {left}"
    told = f"; {len(of_text) - left} of {len(of_text)} layers of the text encoders are among them"
    return f"{told}, and {loader.without_text_encoders}" if loader.without_text_encoders else told


def _parts(modules: Mapping[str, Module], keys: Collection[str]) -> Mapping[str, Sequence[str]]:
    """The endings of these keys by module, alphas left out."""
    found: dict[str, Sequence[str]] = {}
    for stem, module in modules.items():
        if endings := [ending for ending in _weights(module) if f"{stem}{ending}" in keys]:
            found[stem] = endings
    return found


def _weights(module: Module) -> Sequence[str]:
    """The endings of its tensors besides alpha."""
    return [ending for ending in module.tensors if ending != ALPHA]


def _fits(result: LoadResult, shapes: Shapes) -> bool:
    """Whether all LoRAs on modules that the base has are of its shapes."""
    layers = {name: delta for name, delta in result.deltas.items() if isinstance(delta, LoRA)}
    return all(shapes.get(name, layer.shape) == layer.shape for name, layer in layers.items())
