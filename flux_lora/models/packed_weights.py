"""Weights that a file keeps in 8 or 4 bits, and the numbers that they stand for.

8-bit floats, plain or with a scale for each tensor (ComfyUI's "scaled fp8"); bitsandbytes' int8 (a scale for each row)
and its NF4 and FP4 (a scale for each block, which may be in 8 bits itself), as diffusers and ComfyUI write them.
"""

import json
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor

from flux_lora.errors import ModelError

SCALES = (".scale_weight", ".weight_scale")
"""Endings of what an 8-bit float is to be multiplied by."""
ROW_SCALES = ".SCB"
"""Ending of the largest number of each row of bitsandbytes' int8."""
ROW_LEVELS = 127
STATES = (".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4")
"""Endings of what says how bitsandbytes packed a weight of 4 bits."""
BESIDE_FOUR_BITS = (".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map")
BESIDE = (*SCALES, ".scale_input", ".input_scale", ".comfy_quant", "scaled_fp8", ROW_SCALES, ".weight_format")
"""Endings of what only belongs to a weight."""
UNREAD = (".weight_scale_2",)
"""Endings that stand beside weights packed in ways that are not read (NVFP4)."""
WHOLE_NUMBERS = ("I8", "U8")
"""Types, by safetensors' name, of weights that stand for others by rules of their own, as in ComfyUI's int8."""
EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)

Get = Callable[[str], Tensor]


def is_beside(name: str) -> bool:
    """Whether a tensor is no weight, but belongs to one."""
    return name.endswith((*BESIDE, *STATES, *BESIDE_FOUR_BITS))


def is_unread(name: str, kind: str, names: Collection[str]) -> bool:
    """Whether a weight of this type (safetensors' name) is packed in a way that is not read."""
    known = state_of(name, names) or name.removesuffix(".weight") + ROW_SCALES in names
    return name.endswith(UNREAD) or (name.endswith(".weight") and kind in WHOLE_NUMBERS and not known)


def state_of(name: str, names: Collection[str]) -> str:
    """The tensor that says how this one was packed in 4 bits; empty where it was not."""
    return next((name + ending for ending in STATES if name + ending in names), "")


def whole_shape(state: Tensor) -> tuple[int, ...]:
    """Of a weight packed in 4 bits: bitsandbytes keeps it as JSON in bytes."""
    return tuple(json.loads(bytes(state.tolist()))["shape"])


def whole(name: str, get: Get, names: Collection[str]) -> Tensor:
    """The numbers that a tensor stands for; what is not packed comes as it is."""
    tensor = get(name)
    if state := state_of(name, names):
        parts = (name + ending for ending in BESIDE_FOUR_BITS)
        return _of_four_bits(tensor, {part: get(part) for part in (state, *(each for each in parts if each in names))})
    layer = name.removesuffix(".weight")
    if tensor.dtype == torch.int8 and layer + ROW_SCALES in names:
        return tensor.float() * (get(layer + ROW_SCALES).float() / ROW_LEVELS)[:, None]
    if tensor.dtype not in EIGHT_BITS:
        return tensor
    scale = next((layer + ending for ending in SCALES if layer + ending in names), "")
    numbers = tensor.to(torch.float32)
    return (numbers * get(scale).float() if scale else numbers).to(torch.bfloat16)


def _of_four_bits(codes: Tensor, state: dict[str, Tensor]) -> Tensor:
    library: Any = _bitsandbytes()
    functional = library.functional
    return functional.dequantize_4bit(codes, functional.QuantState.from_dict(state, device=torch.device("cpu")))


def _bitsandbytes() -> Any:
    try:
        import bitsandbytes
    except ImportError as error:
        raise ModelError(
            "the base's weights are packed in 4 bits by bitsandbytes, which is not installed",
            fix="install it: pip install bitsandbytes; or give the model in 16 bits or in fp8",
        ) from error
    return bitsandbytes
