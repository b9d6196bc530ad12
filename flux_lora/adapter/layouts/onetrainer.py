"""OneTrainer's older dialect: lora_transformer_<diffusers_module>.lora_down.weight / lora_up.weight / alpha.

ComfyUI and Forge read all of it, diffusers its attention layers only.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from flux_lora.adapter.layouts.reading import read_as
from flux_lora.adapter.layouts.spelling import Spelling, written
from flux_lora.adapter.tensors import Adapter

SPELLING = Spelling(dialect="onetrainer", prefix="lora_transformer_", underscores=True, kinds=("LoRA", "LoKr", "LoHa"))


def to_onetrainer(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """The adapter in this dialect."""
    return written(adapter, SPELLING, dtype)


def from_onetrainer(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Adapter:
    """The adapter of a file in this dialect."""
    return read_as(SPELLING, tensors, metadata or {})
