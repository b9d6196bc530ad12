"""The dialect that diffusers and ComfyUI both read: transformer.<module>.lora_A.weight / lora_B.weight."""

from collections.abc import Mapping

import torch
from torch import Tensor

from flux_lora.adapter.layouts.reading import read_as
from flux_lora.adapter.layouts.spelling import PEFT_ENDS, Spelling, written
from flux_lora.adapter.tensors import Adapter

SPELLING = Spelling(
    dialect="diffusers",
    prefix="transformer.",
    ends=PEFT_ENDS,
    alpha=False,
    fix="write export.dialects=[lycoris], or turn it into a LoRA first: flux-lora resize",
)


def to_diffusers(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    """The adapter in this dialect, with the scale folded into `up`.

    diffusers would take alpha from the metadata, ComfyUI takes it from .alpha tensors and
    uses 1 without them. Folded, both see the same change. DoRA is refused: diffusers reads
    peft's magnitudes, ComfyUI takes such a file for a plain LoRA.
    """
    return written(adapter, SPELLING, dtype)


def from_diffusers(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Adapter:
    """The adapter of a file in this dialect, with alpha from where it stands: in the tensors or the metadata."""
    return read_as(SPELLING, tensors, metadata or {})
