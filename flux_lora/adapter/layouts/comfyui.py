"""ComfyUI's own dialect: diffusion_model.<native module>.lora_down.weight / lora_up.weight / alpha.

Spelled down and up, never A and B: diffusers converts the former (block layers) and loads nothing from the latter.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from flux_lora.adapter.layouts.reading import read_as
from flux_lora.adapter.layouts.spelling import Spelling, written
from flux_lora.adapter.tensors import Adapter

SPELLING = Spelling(dialect="comfyui", prefix="diffusion_model.", native=True, kinds=("LoRA", "LoKr", "LoHa"))


def to_comfyui(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """The adapter in this dialect; q, k and v (and the single blocks' MLP) side by side in one matrix."""
    return written(adapter, SPELLING, dtype)


def from_comfyui(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Adapter:
    """The adapter of a file in this dialect, A and B included."""
    return read_as(SPELLING, tensors, metadata or {})
