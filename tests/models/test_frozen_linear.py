"""A base in few bits: as exact as is said, and nothing whole is kept of it."""

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from flux_lora.config.choices import Quantization
from flux_lora.models.frozen_linear import WORST_ERROR, FrozenLinear, Int8Linear, Nf4Linear, frozen_linear
from flux_lora.models.quantization import nf4

INPUTS, OUTPUTS, ROWS = 256, 128, 32
HOWS = (Quantization.int8, Quantization.nf4)
USUAL = {Quantization.int8: 0.01, Quantization.nf4: 0.1}


@pytest.fixture
def weight() -> Tensor:
    return torch.randn(OUTPUTS, INPUTS, generator=torch.Generator().manual_seed(0)) / INPUTS**0.5


def frozen(weight: Tensor, how: Quantization) -> FrozenLinear:
    layer = frozen_linear(weight, how)
    assert layer is not None
    layer.register_parameter("bias", nn.Parameter(torch.ones(OUTPUTS), requires_grad=False))
    return layer


@pytest.mark.parametrize("how", HOWS)
def test_a_layer_answers_as_one_with_the_dequantised_weight_and_passes_on_its_gradient(weight: Tensor, how):
    layer, rows = frozen(weight, how), torch.randn(ROWS, INPUTS, requires_grad=True)
    plain = rows.detach().clone().requires_grad_()
    whole = torch.nn.functional.linear(plain, layer.dequantised(torch.float32), layer.bias)
    said, asked = layer(rows), torch.randn(ROWS, OUTPUTS)
    said.backward(asked)
    whole.backward(asked)
    assert rows.grad is not None
    assert plain.grad is not None
    torch.testing.assert_close(said, whole, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(rows.grad, plain.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("how", HOWS)
def test_the_error_of_a_layer_is_what_rounding_changed_and_is_within_what_is_usual(weight: Tensor, how):
    layer = frozen(weight, how)
    measured = float((layer.dequantised(torch.float32) - weight).norm() / weight.norm())
    assert layer.rounding_error == pytest.approx(measured, rel=0.1), "all inputs are alike here"
    assert 0 < layer.rounding_error < USUAL[how] < WORST_ERROR[how]


def test_nf4_agrees_with_our_table_of_the_format(weight: Tensor):
    torch.testing.assert_close(frozen(weight, Quantization.nf4).dequantised(torch.float32), nf4(weight))


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("larger", [30, 300])
def test_a_weight_with_a_few_large_numbers_stays_as_it_is(weight: Tensor, how, larger):
    weight[:, ::64] *= larger
    assert frozen_linear(weight, how) is None


@pytest.mark.parametrize(("how", "share"), [(Quantization.int8, 0.26), (Quantization.nf4, 0.16)])
def test_the_memory_of_a_layer_is_a_quarter_or_an_eighth_of_fp32(weight: Tensor, how, share):
    layer = frozen(weight, how)
    assert held(layer) < share * weight.numel() * 4


def held(layer: FrozenLinear) -> int:
    """Bytes of the weight and its scales."""
    scales = layer.weight.quant_state.absmax if isinstance(layer, Nf4Linear) else layer.scales  # type: ignore[union-attr]
    return sum(each.numel() * each.element_size() for each in (layer.weight, scales))


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_whole_weight_waits_for_the_backward_pass(weight: Tensor, how, dtype):
    layer, saved = frozen(weight, how), []
    layer.bias.data = layer.bias.data.to(dtype)

    def counted(tensor: Tensor) -> Tensor:
        saved.append(tensor.numel() * tensor.element_size())
        return tensor

    with saved_tensors_hooks(counted, lambda tensor: tensor):
        layer(torch.randn(ROWS, INPUTS, dtype=dtype, requires_grad=True))
    assert sum(saved) <= held(layer), "the codes themselves, which are there anyway"


def test_int8_is_as_near_to_fp32_as_computing_in_bf16_is(weight: Tensor):
    rows = torch.randn(512, INPUTS, generator=torch.Generator().manual_seed(1))
    exact = torch.nn.functional.linear(rows, weight)
    in_bf16 = torch.nn.functional.linear(rows.bfloat16(), weight.bfloat16()).float()
    in_int8 = Int8Linear(weight)(rows.bfloat16()).float()
    errors = [float((each - exact).norm() / exact.norm()) for each in (in_bf16, in_int8)]
    assert errors[1] < 4 * errors[0]
    assert errors[1] < 0.2 * float((Nf4Linear(weight)(rows) - exact).norm() / exact.norm())
