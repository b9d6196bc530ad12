"""Linear layers whose frozen weight is kept in 8 or 4 bits and computed with in 16 or 32.

The weight is made whole for each product, forward and backward, inside an autograd function: done outside of one,
autograd would keep the 16-bit copy of every weight until the backward pass, which is the whole base again. No gradient
goes to the weight.

int8 has a scale for each row. On FLUX it is as near to the fp32 base as computing in bf16 is: a LoRA's gradient has a
cosine of 0.9999 to the fp32 base's, where NF4's has 0.98. NF4 is bitsandbytes' (Dettmers et al., "QLoRA", 2023).

Shape letters: I inputs and O outputs of the layer.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from flux_lora.config.choices import Quantization
from flux_lora.errors import ModelError

INT8_LEVELS = 127
NF4_BLOCK = 64
"""Neighbours in a row that share a scale."""
SMALLEST = torch.finfo(torch.bfloat16).tiny
WORST_ERROR: Mapping[Quantization, float] = {Quantization.int8: 0.02, Quantization.nf4: 0.15}
"""Rounding error above which a layer stays as it is. Normally distributed weights have 0.008 and 0.09; a few that are
much larger cost all others."""


class FrozenLinear(nn.Linear):
    """A linear layer that never trains, of a weight in few bits."""

    rounding_error: float
    """How much rounding changed the weights of the median input, as a share of them (root mean squares)."""

    def __init__(self, weight_OI: Tensor) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight_OI.shape
        self.register_parameter("bias", None)
        self._keep(weight_OI)
        weight_OI = weight_OI.float()
        changed_I = (self.dequantised(torch.float32) - weight_OI).norm(dim=0)
        self.rounding_error = float((changed_I / weight_OI.norm(dim=0).clamp_min(SMALLEST)).median())

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        """As nn.Linear's, in the dtype of the input."""
        output = self._product(input)
        return output if self.bias is None else output + self.bias

    def dequantised(self, dtype: torch.dtype) -> Tensor:
        """The weight that the layer stands for: OI."""
        raise NotImplementedError

    def _product(self, rows: Tensor) -> Tensor:
        """Without the bias."""
        raise NotImplementedError

    def _keep(self, weight_OI: Tensor) -> None:
        """Set `weight` to the codes, and what belongs to them."""
        raise NotImplementedError


class Int8Linear(FrozenLinear):
    """A whole number for each weight, and a scale for each row."""

    scales: Tensor  # O

    def dequantised(self, dtype: torch.dtype) -> Tensor:
        """Codes times scales: OI."""
        return self.weight.to(dtype) * self.scales.to(dtype)[:, None]

    def _product(self, rows: Tensor) -> Tensor:
        return cast(Tensor, _Int8Product.apply(rows, self.weight, self.scales))

    def _keep(self, weight_OI: Tensor) -> None:
        """Scales are bf16 numbers whatever the layer computes in, so that no rounding of theirs comes on top."""
        weight_OI = weight_OI.float()
        largest_O = weight_OI.abs().amax(dim=1).clamp_min(SMALLEST)
        self.register_buffer("scales", (largest_O / INT8_LEVELS).bfloat16(), persistent=False)
        codes_OI = (weight_OI / self.scales.float()[:, None]).round().clamp(-INT8_LEVELS, INT8_LEVELS)
        self.weight = nn.Parameter(codes_OI.to(torch.int8), requires_grad=False)


class Nf4Linear(FrozenLinear):
    """One of 16 levels for each weight, times the largest of its block. By bitsandbytes."""

    def dequantised(self, dtype: torch.dtype) -> Tensor:
        """OI."""
        return _bitsandbytes().functional.dequantize_4bit(self.weight, cast(Any, self.weight).quant_state).to(dtype)

    def _product(self, rows: Tensor) -> Tensor:
        return cast(Tensor, _Nf4Product.apply(rows, self.dequantised))

    def _keep(self, weight_OI: Tensor) -> None:
        """As bitsandbytes' own parameter: diffusers asks it for the shape of the weight."""
        library, block = _bitsandbytes(), {"blocksize": NF4_BLOCK, "quant_type": "nf4"}
        codes, state = library.functional.quantize_4bit(weight_OI.contiguous(), **block)
        self.weight = library.nn.Params4bit(
            codes, requires_grad=False, quant_state=state, bnb_quantized=True, quant_storage=codes.dtype, **block
        )


class _Int8Product(torch.autograd.Function):
    """Scales multiply the outputs, not the weight: whole numbers up to 127 are exact in every dtype."""

    @staticmethod
    def forward(ctx: Any, input_: Tensor, codes_OI: Tensor, scales_O: Tensor) -> Tensor:
        ctx.save_for_backward(codes_OI, scales_O)
        return linear(input_, codes_OI.to(input_.dtype)) * scales_O.to(input_.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (grad,), (codes_OI, scales_O) = grads, ctx.saved_tensors
        return (grad * scales_O.to(grad.dtype)) @ codes_OI.to(grad.dtype), None, None


class _Nf4Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input_: Tensor, weight_in: Callable[[torch.dtype], Tensor]) -> Tensor:
        ctx.weight_in = weight_in
        return linear(input_, weight_in(input_.dtype))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        return grad @ ctx.weight_in(grad.dtype), None


BYTES: Mapping[Quantization, float] = {Quantization.int8: 1.0, Quantization.nf4: 0.5 + 4 / NF4_BLOCK}
"""Of each weight; int8 has a bf16 scale for each row beside it."""
LAYERS: Mapping[Quantization, type[FrozenLinear]] = {Quantization.int8: Int8Linear, Quantization.nf4: Nf4Linear}


def frozen_linear(weight_OI: Tensor, how: Quantization) -> FrozenLinear | None:
    """A layer without a bias, in so few bits; None where rounding costs it more than WORST_ERROR.

    Raises ModelError where bitsandbytes is needed and not installed.
    """
    layer = LAYERS[how](weight_OI)
    return layer if layer.rounding_error <= WORST_ERROR[how] else None


def quantized_bytes(
    model: nn.Module, layers: str, how: Quantization, dtype: torch.dtype, *, counted: str = ".*"
) -> float:
    """Bytes of a model whose linear layers (a pattern of whole names) are kept so, and the rest in `dtype`.

    `counted`: pattern of the modules whose parameters count.
    """
    total = 0.0
    for name, parameter in model.named_parameters():
        layer, _, attribute = name.rpartition(".")
        if not re.fullmatch(counted, layer):
            continue
        if attribute == "weight" and re.fullmatch(layers, layer) and how is not Quantization.none:
            total += parameter.numel() * BYTES[how] + (2 * len(parameter) if how is Quantization.int8 else 0)
        else:
            total += parameter.numel() * dtype.itemsize
    return total


def quantization_said(model: nn.Module, layers: str) -> str:
    """How many of the layers (a pattern of whole names) are in few bits, and how much that changed them."""
    linears = {name: each for name, each in model.named_modules() if isinstance(each, nn.Linear)}
    errors = {name: each.rounding_error for name, each in linears.items() if isinstance(each, FrozenLinear)}
    whole = [name for name in linears if re.fullmatch(layers, name) and name not in errors]
    worst = max(errors, key=lambda name: errors[name], default="")
    said = f"{len(errors)} layers quantised"
    if errors:
        mean = sum(errors.values()) / len(errors)
        said += f", their weights changed by {mean:.1%} on average, {errors[worst]:.1%} at most ({worst})"
    return f"{said}; {len(whole)} with a few large numbers stay as they were ({whole[0]})" if whole else said


def _bitsandbytes() -> Any:
    try:
        import bitsandbytes
    except ImportError as error:
        raise ModelError(
            "hardware.quantize is nf4, which needs bitsandbytes",
            fix="install it: pip install bitsandbytes; or set hardware.quantize=int8",
        ) from error
    return bitsandbytes
