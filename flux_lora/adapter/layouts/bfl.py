"""FLUX's own names with nothing before them: double_blocks.0.img_attn.qkv.lora_A.weight / lora_B.weight / alpha.

OneTrainer calls it ORIGINAL. None of diffusers, ComfyUI and sd-scripts reads it; code built on BFL's repository does.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from flux_lora.adapter.layouts.reading import read_as
from flux_lora.adapter.layouts.spelling import PEFT_ENDS, Spelling, written
from flux_lora.adapter.tensors import Adapter

SPELLING = Spelling(dialect="bfl", prefix="", native=True, ends=PEFT_ENDS)


def to_bfl(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """The adapter in this dialect."""
    return written(adapter, SPELLING, dtype)


def from_bfl(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Adapter:
    """The adapter of a file in this dialect."""
    return read_as(SPELLING, tensors, metadata or {})
