"""What work takes before it is done: memory, arithmetic and kernels, counted on the meta device, where no number is.

The program that is counted is the program that runs: same modules, same adapter, same backward pass. Two kernels that a
GPU has and the meta device takes apart (flash attention, RMS norm) are put in their place.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from weakref import finalize

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


@dataclass(frozen=True)
class Count:
    """What a piece of work took beside what was there before."""

    peak: float
    """Most bytes of tensors at one time."""
    left: float
    """Bytes that are still there after it."""
    flops: float
    kernels: float

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.peak + other.peak, self.left + other.left, self.flops + other.flops, self.kernels + other.kernels
        )

    def __mul__(self, factor: float) -> "Count":
        return Count(self.peak * factor, self.left * factor, self.flops * factor, self.kernels * factor)


def counted(work: Callable[[], object]) -> Count:
    """Do the work on the meta device, and count it; what it returns is still alive when `left` is read."""
    live = _Live()
    with _fused(), live:
        kept = work()
        left = live.now
    del kept
    return Count(live.peak, left, live.flops, live.kernels)


def counted_by_block(model: nn.Module, work: Callable[[nn.Module], Count]) -> Count:
    """The same for a model with many equal blocks, from one and two of each kind: exact in FLOPs where blocks are
    equal, and to a thousandth in bytes.

    `work` counts on a model that it may change. `model` is left as it was.
    """
    lists = {name: len(each) for name, each in model.named_children() if isinstance(each, nn.ModuleList)}
    shortest = {name: min(1, length) for name, length in lists.items()}
    with _shortened(model, shortest):
        total = one = work(model)
    for name, length in lists.items():
        if length > 1:
            with _shortened(model, {**shortest, name: 2}):
                total += (work(model) + one * -1) * (length - 1)
    return total


def bytes_of(model: nn.Module) -> int:
    """Of all parameters and buffers."""
    return sum(each.numel() * each.element_size() for each in (*model.parameters(), *model.buffers()))


@contextmanager
def _shortened(model: nn.Module, lengths: Mapping[str, int]) -> Iterator[None]:
    whole = {name: cast(nn.ModuleList, model.get_submodule(name)) for name in lengths}
    for name, length in lengths.items():
        model.register_module(name, whole[name][:length])
    try:
        yield
    finally:
        for name, blocks in whole.items():
            model.register_module(name, blocks)


class _Live(TorchDispatchMode):
    """Bytes of the storages that work has made and that are still alive. torch's FlopCounterMode would keep alive what
    checkpointing computes again."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = self.kernels = self.flops = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, inputs: Any = (), named: Any = None) -> Any:  # noqa: ARG002
        result = func(*inputs, **(named or {}))
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*inputs, **(named or {}), out_val=result)
        given = {_storage(each)[0] for each in tree_leaves((inputs, named)) if isinstance(each, Tensor)}
        made = dict(_storage(each) for each in tree_leaves(result) if isinstance(each, Tensor))
        new = {key: storage for key, storage in made.items() if key not in given}
        self.kernels += bool(new) or func._schema.is_mutable  # noqa: SLF001
        for key, storage in new.items():
            if key not in self._sizes:
                self._sizes[key] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                finalize(storage, self._freed, key)
        return result

    def _freed(self, key: int) -> None:
        self.now -= self._sizes.pop(key, 0)


def _storage(tensor: Tensor) -> tuple[int, torch.UntypedStorage]:
    """What the tensor lies in: views of one storage share its key."""
    storage = tensor.untyped_storage()
    return storage._cdata, storage  # noqa: SLF001


class _FusedNorm(torch.autograd.Function):
    """The memory and kernels of a fused RMS norm, without its numbers."""

    @staticmethod
    def forward(ctx: Any, input_: Tensor) -> Tensor:
        ctx.save_for_backward(input_)
        return torch.empty_like(input_)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:  # noqa: ARG004
        return torch.empty_like(grads[0])


@contextmanager
def _fused() -> Iterator[None]:
    """Attention and RMS norm as one kernel each, as on a GPU: nothing of S x S is held, and the norm keeps its input.

    A TorchFunctionMode would be asked about the forward pass only, not about what checkpointing computes again.
    """
    attention, norm = functional.scaled_dot_product_attention, functional.rms_norm

    def flash(query: Tensor, key: Tensor, value: Tensor, **_options: object) -> Tensor:
        return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]  # noqa: SLF001

    def one_kernel(input: Tensor, *_shape_weight_eps: object, **_named: object) -> Tensor:  # noqa: A002
        return cast(Tensor, _FusedNorm.apply(input))

    functional.scaled_dot_product_attention, functional.rms_norm = flash, one_kernel
    try:
        yield
    finally:
        functional.scaled_dot_product_attention, functional.rms_norm = attention, norm
