"""LyCORIS' dialect, as SimpleTuner writes it: lycoris_<diffusers_module>.lokr_w1, .hada_w1_a, .lora_down.weight ...

The only one that holds every kind of change. ComfyUI and Forge read it; diffusers and sd-scripts do not.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from flux_lora.adapter.layouts.reading import read_as
from flux_lora.adapter.layouts.spelling import Spelling, written
from flux_lora.adapter.tensors import Adapter

SPELLING = Spelling(
    dialect="lycoris", prefix="lycoris_", underscores=True, kinds=("LoRA", "DoRA", "LoKr", "LoHa", "OFT")
)


def to_lycoris(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """The adapter in this dialect."""
    return written(adapter, SPELLING, dtype)


def from_lycoris(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Adapter:
    """The adapter of a file in this dialect."""
    return read_as(SPELLING, tensors, metadata or {})
