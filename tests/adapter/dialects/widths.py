"""A FLUX.1 of any width: what every module's weight measures, and adapters for some of them."""

from collections.abc import Iterable, Mapping

import torch
from torch import Generator, Tensor

from flux_lora.adapter.dialects.table import DIALECTS
from flux_lora.adapter.layer_types import Adapter, LoRA

WIDTH = 4
QKV = [f"transformer_blocks.0.attn.to_{part}" for part in "qkv"]
TEXT_QKV = [f"transformer_blocks.0.attn.add_{part}_proj" for part in "qkv"]
LINEAR1 = [*(f"single_transformer_blocks.2.attn.to_{part}" for part in "qkv"), "single_transformer_blocks.2.proj_mlp"]
ATTENTION = [
    *QKV,
    *TEXT_QKV,
    *LINEAR1[:3],
    "transformer_blocks.0.attn.to_out.0",
    "transformer_blocks.0.attn.to_add_out",
    "single_transformer_blocks.2.proj_out",
]
BLOCKS = [
    *ATTENTION,
    LINEAR1[3],
    *(f"transformer_blocks.0.{ff}.net.{end}" for ff in ("ff", "ff_context") for end in ("0.proj", "2")),
    "transformer_blocks.0.norm1.linear",
    "transformer_blocks.0.norm1_context.linear",
    "single_transformer_blocks.2.norm.linear",
]
EMBEDDERS = ["x_embedder", "context_embedder"] + [
    f"time_text_embed.{which}_embedder.linear_{end}" for which in ("timestep", "text", "guidance") for end in (1, 2)
]
FINAL = ["proj_out", "norm_out.linear"]
ALL = [*BLOCKS, *EMBEDDERS, *FINAL]


def shape_of(name: str, width: int = WIDTH) -> tuple[int, int]:
    """Outputs and inputs of a module; those outside the blocks are not FLUX's, which does not matter here."""
    outputs = {"proj_mlp": 4, "net.0.proj": 4, "norm1.linear": 6, "norm1_context.linear": 6, "norm.linear": 3}
    outputs |= {"norm_out.linear": 2}
    inputs = {"net.2": 4, "blocks.2.proj_out": 5}
    rows = next((times for end, times in outputs.items() if name.endswith(end)), 1)
    return rows * width, next((times for end, times in inputs.items() if name.endswith(end)), 1) * width


def layer(name: str, *, rank: int, alpha: float, generator: Generator, width: int = WIDTH) -> LoRA:
    """A random change of a module."""
    rows, columns = shape_of(name, width)
    down = torch.randn(rank, columns, generator=generator)
    return LoRA(down, torch.randn(rows, rank, generator=generator), alpha)


def adapter(names: Iterable[str] = ALL, *, rank: int = 2, alpha: float = 3.0, width: int = WIDTH) -> Adapter:
    """Random changes of these modules, the same each time."""
    generator = Generator().manual_seed(0)
    return Adapter({name: layer(name, rank=rank, alpha=alpha, generator=generator, width=width) for name in names})


def in_dialect(dialect: str, adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    write = DIALECTS[dialect].write
    assert write is not None
    return write(adapter, dtype)


def to_diffusers(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    return in_dialect("diffusers", adapter, dtype)


def to_kohya(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    return in_dialect("kohya", adapter, dtype)


def to_onetrainer(adapter: Adapter, dtype: torch.dtype) -> dict[str, Tensor]:
    return in_dialect("onetrainer", adapter, dtype)


def from_diffusers(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Adapter:
    return DIALECTS["diffusers"].read(tensors, metadata or {}).adapter
