"""One LoRA in the layouts of several tools, written here a second time on purpose."""

from collections.abc import Mapping

import torch
from torch import Tensor

from flux_lora.adapter.dialects.bfl import to_bfl
from flux_lora.adapter.dialects.module_names import underscored
from flux_lora.adapter.layer_types import Adapter, LoRA

RANK, ALPHA = 3, 6.0


def drawn(shapes: Mapping[str, tuple[int, int]]) -> Adapter:
    """On every linear layer, at twice its scale."""
    generator = torch.Generator().manual_seed(1)
    made = {}
    for name, (outputs, inputs) in shapes.items():
        factors = (torch.randn(side, generator=generator) for side in ((RANK, inputs), (outputs, RANK)))
        made[name] = LoRA(*factors, ALPHA)
    return Adapter(made)


def blocks_of(adapter: Adapter) -> Adapter:
    return Adapter({name: delta for name, delta in adapter.deltas.items() if "blocks." in name})


def own_names(adapter: Adapter, prefix: str = "transformer.") -> dict[str, Tensor]:
    """diffusers' names, the scale in `up`."""
    found = {}
    for name, layer in adapter.layers.items():
        found[f"{prefix}{name}.lora_A.weight"] = layer.down
        found[f"{prefix}{name}.lora_B.weight"] = layer.up * layer.scale
    return found


def bfl_names(adapter: Adapter, prefix: str = "diffusion_model.", ends: str = "AB") -> dict[str, Tensor]:
    """Black Forest Labs' names: as ai-toolkit (A, B), or with down, up and alpha."""
    below, above = ("lora_A", "lora_B") if ends == "AB" else ("lora_down", "lora_up")
    found = {}
    for module, layer in to_bfl(adapter):
        assert isinstance(layer, LoRA)
        name = underscored(module) if prefix == "lora_unet_" else module
        scale = layer.scale if ends == "AB" else 1.0
        found[f"{prefix}{name}.{below}.weight"], found[f"{prefix}{name}.{above}.weight"] = layer.down, layer.up * scale
        if ends != "AB":
            found[f"{prefix}{name}.alpha"] = torch.tensor(layer.alpha)
    return found
