"""Load an adapter file with the family's own diffusers pipeline, and compare what the base then predicts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from flux_lora.adapter.attach import adapter_modules, detach, linear_layers, load_into, set_strength
from flux_lora.adapter.layer_types import Adapter, DoRA, LayerDelta, LoRA
from flux_lora.adapter.peft_modules import PEFT_NAME
from flux_lora.models.family import ModelFamily


@dataclass(frozen=True, kw_only=True)
class LoadedBase:
    """The base model that adapter files are loaded into one after the other. The last one stays loaded."""

    family: ModelFamily
    transformer: nn.Module
    dtype: torch.dtype = torch.float32


def shapes_of(transformer: nn.Module) -> dict[str, tuple[int, int]]:
    """Module name -> outputs and inputs of a linear layer."""
    return {name: (linear.out_features, linear.in_features) for name, linear in linear_layers(transformer).items()}


def load(file: Path, family: ModelFamily, transformer: nn.Module) -> dict[str, LayerDelta]:
    """Load the file as a user would; returns diffusers' converted tensors of the modules that peft made."""
    state = family.load_lora_file(transformer, file, PEFT_NAME)
    loaded = adapter_modules(transformer)
    return {name: _delta(name, module.scaling[PEFT_NAME], state) for name, module in loaded.items()}


def output_errors(base: LoadedBase, loaded: Adapter, trained: Adapter) -> tuple[float, float]:
    """Distance of the velocity with the file, which is loaded in the transformer, from that with `loaded` (what was
    read out of the file), and from that with `trained`; both relative to the adapter's effect on the velocity.

    Afterwards the file is no longer loaded.
    """
    transformer, velocity_of = base.transformer, base.family.velocity_at_fixed_point
    velocity = velocity_of(transformer)
    detach(transformer)
    load_into(transformer, loaded)
    same = velocity_of(transformer)
    load_into(transformer, trained)
    exact = velocity_of(transformer)
    set_strength(transformer, 0.0)
    effect = (exact - velocity_of(transformer)).norm().clamp(min=torch.finfo(torch.float32).tiny)
    return ((velocity - same).norm() / effect).item(), ((velocity - exact).norm() / effect).item()


def _delta(name: str, scale: float, state: Mapping[str, Tensor]) -> LayerDelta:
    key = f"transformer.{name}.lora_"
    down, up = state[f"{key}A.weight"], state[f"{key}B.weight"]
    layer = LoRA(down, up, scale * down.shape[0])
    magnitude = state.get(f"{key}magnitude_vector")
    return layer if magnitude is None else DoRA(layer, magnitude.flatten().float())
