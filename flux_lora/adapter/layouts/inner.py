"""The layout of checkpoints: an Adapter exactly as it is, in float32, with alpha beside it."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from flux_lora.adapter.tensors import Adapter, LoRA
from flux_lora.errors import AdapterFileError

PARTS = ("down", "up", "alpha")


def to_checkpoint(adapter: Adapter) -> dict[str, Tensor]:
    """`<module>.down`, `<module>.up`, `<module>.alpha`."""
    tensors = {}
    for name, layer in adapter.layers.items():
        alpha = torch.tensor(layer.alpha, dtype=torch.float64)
        tensors |= {f"{name}.down": layer.down, f"{name}.up": layer.up, f"{name}.alpha": alpha}
    return tensors


def is_checkpoint(keys: Collection[str]) -> bool:
    """Whether these keys are a checkpoint's."""
    return bool(keys) and all(key.rpartition(".")[2] in PARTS for key in keys)


def from_checkpoint(tensors: Mapping[str, Tensor]) -> Adapter:
    """The adapter of a checkpoint."""
    names = sorted({key.rpartition(".")[0] for key in tensors})
    missing = [f"{name}.{part}" for name in names for part in PARTS if f"{name}.{part}" not in tensors]
    if missing:
        raise AdapterFileError(
            f"the checkpoint lacks {len(missing)} tensor(s), first {missing[0]}",
            fix="remove this checkpoint and continue from the one before it",
        )
    return Adapter(
        {name: LoRA(tensors[f"{name}.down"], tensors[f"{name}.up"], float(tensors[f"{name}.alpha"])) for name in names}
    )
