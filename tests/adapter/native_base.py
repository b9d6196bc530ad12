"""A diffusers transformer's tensors under FLUX's own names, as in flux1-dev.safetensors."""

import torch
from diffusers.loaders.single_file_utils import swap_scale_shift
from torch import Tensor

from flux_lora.adapter.dialects.module_names import NATIVE

PREFIX = "model.diffusion_model."


def as_native(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """FLUX's own names for the blocks and for the final norm, whose halves diffusers swaps when it converts."""
    made = {}
    for name, parts in NATIVE.items():
        for end in ("weight", "bias"):
            stacked = torch.cat([tensors[f"{part.format(0)}.{end}"] for part in parts])
            swap = name == "final_layer.adaLN_modulation.1"
            made[f"{PREFIX}{name.format(0)}.{end}"] = swap_scale_shift(stacked, dim=0) if swap else stacked
    return made
