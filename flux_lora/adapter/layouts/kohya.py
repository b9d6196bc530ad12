"""The dialect of sd-scripts: lora_unet_<native_module>.lora_down.weight / lora_up.weight / alpha.

sd-scripts stops at a module without alpha, and has none of the final layer.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from flux_lora.adapter.layouts.reading import read_as
from flux_lora.adapter.layouts.spelling import Spelling, written
from flux_lora.adapter.tensors import Adapter

SPELLING = Spelling(
    dialect="kohya", prefix="lora_unet_", native=True, underscores=True, without=("proj_out", "norm_out.linear")
)


def to_kohya(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """The adapter in this dialect. The final layer is refused: sd-scripts would leave it out in silence."""
    return written(adapter, SPELLING, dtype)


def from_kohya(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Adapter:
    """The adapter of a file in this dialect."""
    return read_as(SPELLING, tensors, metadata or {})
