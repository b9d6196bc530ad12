"""Layers whose weights wait in host memory and come to the device for each product.

It pays where a layer holds much and computes little. FLUX's modulation (AdaLN) is 27 % of the weights and a
matrix-vector product for each image: in host memory it costs one copy for each pass, 6.5 GB in bf16, and frees as much.
The product is made on the device, as it would be there: results are the same bits.
"""

import re

import torch
from torch import Tensor, nn
from torch.func import functional_call


class OffloadedLinear(nn.Module):
    """A linear layer that is on the device only while it computes. It takes no gradient and passes none on."""

    def __init__(self, inner: nn.Linear, *, pinned: bool = True) -> None:
        super().__init__()
        self.inner = inner
        if pinned and torch.cuda.is_available():  # from page-locked memory a copy takes half as long
            for tensor in (*inner.parameters(), *inner.buffers()):
                tensor.data = tensor.data.pin_memory()

    @torch.no_grad()
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """As the layer's own."""
        here = {**dict(self.inner.named_parameters()), **dict(self.inner.named_buffers())}
        there = {name: tensor.to(input.device, non_blocking=True) for name, tensor in here.items()}
        return functional_call(self.inner, there, (input,))


def offload(model: nn.Module, layers: str, *, pinned: bool = True) -> None:
    """Make layers (a pattern of whole names), whose weights are in host memory already, come when they are needed."""
    found = {name: each for name, each in model.named_modules() if re.fullmatch(layers, name)}
    for name, layer in found.items():
        assert isinstance(layer, nn.Linear), f"{name} is a linear layer"
        model.set_submodule(name, OffloadedLinear(layer, pinned=pinned))
