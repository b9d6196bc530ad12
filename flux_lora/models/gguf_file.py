"""The tensors of a GGUF file, as stable-diffusion.cpp and ComfyUI-GGUF have them: made whole one after the other.

By the gguf package, which is llama.cpp's own; the file is mapped.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flux_lora.errors import ModelError

ENDING = ".gguf"
ARCHITECTURE = "general.architecture"
ROWS_AT_ONCE = 256
"""Rows that are made whole together: numpy needs several times their float32 size for it."""


@dataclass(frozen=True)
class GgufFile:
    """A GGUF file, its header read."""

    shapes: Mapping[str, tuple[int, ...]]
    """Outputs first, as torch has them."""
    architecture: str
    """Its own word for the model: flux, sd3, llama."""
    read: Callable[[str], Tensor]
    """Name -> tensor, in float32 where it is quantised."""


def open_gguf_file(file: Path) -> GgufFile:
    """Its header. Raises ModelError where it is damaged, or the gguf package is not installed."""
    library = _gguf(file)
    try:
        reader = library.GGUFReader(file)
        tensors = {each.name: each for each in reader.tensors}
        field = reader.fields.get(ARCHITECTURE)
    except (ValueError, IndexError, KeyError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"{file} cannot be opened: {reason}", fix="fetch the model again; the file is no GGUF, or cut short"
        ) from error
    return GgufFile(
        shapes={name: tuple(int(side) for side in reversed(each.shape)) for name, each in tensors.items()},
        architecture=str(field.contents()) if field else "",
        read=lambda name: _whole(tensors[name], library),
    )


def _whole(tensor: Any, library: Any) -> Tensor:
    shape = tuple(int(side) for side in reversed(tensor.shape))
    kind = tensor.tensor_type
    if kind in (library.GGMLQuantizationType.F32, library.GGMLQuantizationType.F16):
        return torch.from_numpy(np.array(tensor.data)).reshape(shape)
    packed = tensor.data.reshape(-1, tensor.data.shape[-1])
    parts = [
        library.quants.dequantize(packed[first : first + ROWS_AT_ONCE], kind)
        for first in range(0, len(packed), ROWS_AT_ONCE)
    ]
    return torch.from_numpy(np.concatenate(parts)).reshape(shape)


def _gguf(file: Path) -> Any:
    try:
        import gguf
        import gguf.quants
    except ImportError as error:
        raise ModelError(
            f"{file} is a GGUF file, which the gguf package reads, and it is not installed",
            fix="install it: pip install gguf; or give the model in fp8 or in 16 bits, as safetensors",
        ) from error
    return gguf
