"""Adapters of every kind in a transformer: nothing at first, what their formula says after, the base at strength 0."""

import pytest
import torch
from diffusers import FluxTransformer2DModel
from peft import LoraConfig, inject_adapter_in_model
from torch import Generator, nn
from torch.nn.functional import linear

from flux_lora.adapter.attach import adapter_of, attach, load_into, set_strength, trainable_layers
from flux_lora.adapter.layer_types import Adapter, DoRA, LoKr, LoRA, delta_of, tensors_in, type_name
from flux_lora.adapter.peft_modules import PEFT_NAME
from flux_lora.config.choices import AdapterKind, AdapterTargets, Quantization
from flux_lora.errors import AdapterFileError
from flux_lora.models.frozen_linear import FrozenLinear, frozen_linear
from tests.adapter.example_adapters import answer, frozen_transformer, learned_kind
from tests.tiny import flux1_layers

KINDS = pytest.mark.parametrize("kind", AdapterKind)
Q = "transformer_blocks.0.attn.to_q"


def start(transformer: nn.Module, kind: AdapterKind, rank: int = 4) -> Adapter:
    assert isinstance(transformer, FluxTransformer2DModel)
    layers = flux1_layers(transformer, AdapterTargets.blocks_all)
    return attach(transformer, layers, rank=rank, alpha=2.0 * rank, generator=Generator().manual_seed(0), kind=kind)


@KINDS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_fresh_one_changes_nothing_and_strength_0_is_the_base_bit_for_bit(kind: AdapterKind, dtype: torch.dtype):
    transformer = frozen_transformer(dtype)
    before = answer(transformer)
    adapter = start(transformer, kind)
    assert {type_name(delta).lower() for delta in adapter.deltas.values()} == {kind.value}
    assert torch.equal(answer(transformer), before)
    load_into(transformer, learned_kind(adapter))
    full = answer(transformer)
    set_strength(transformer, 0.0)
    assert torch.equal(answer(transformer), before) and not torch.equal(full, before)
    set_strength(transformer, 1.0)
    assert torch.equal(answer(transformer), full)


@KINDS
@pytest.mark.parametrize("rank", [1, 40])  # a LoKr's second factor is a product, or whole
def test_a_learned_one_acts_like_the_changed_weights(kind: AdapterKind, rank: int):
    transformer, merged = frozen_transformer(), frozen_transformer()
    adapter = learned_kind(start(transformer, kind, rank), 0.02)
    load_into(transformer, adapter)
    for name, delta in adapter.deltas.items():
        weight = merged.get_submodule(name).weight
        assert isinstance(weight, torch.Tensor)
        weight += delta_of(delta, weight.clone())
    torch.testing.assert_close(answer(transformer), answer(merged), rtol=1e-4, atol=2e-5)


@KINDS
def test_what_was_loaded_is_read_back(kind: AdapterKind):
    transformer = frozen_transformer()
    adapter = learned_kind(start(transformer, kind))
    load_into(transformer, adapter)
    held = adapter_of(transformer)
    assert held.deltas.keys() == adapter.deltas.keys()
    for name, delta in adapter.deltas.items():
        pairs = zip(tensors_in(held.deltas[name]), tensors_in(delta), strict=True)
        assert all(torch.equal(left, right) for left, right in pairs)
        weight = transformer.get_submodule(name).get_submodule("base_layer").weight
        assert isinstance(weight, torch.Tensor)
        torch.testing.assert_close(delta_of(held.deltas[name], weight), delta_of(delta, weight))


@KINDS
def test_only_the_adapter_can_be_trained_and_every_tensor_of_it_gets_a_gradient(kind: AdapterKind):
    transformer = frozen_transformer()
    load_into(transformer, learned_kind(start(transformer, kind)))
    held = [each for layer in trainable_layers(transformer).values() for each in layer.parameters]
    assert {id(each) for each in transformer.parameters() if each.requires_grad} == {id(each) for each in held}
    with torch.enable_grad():
        outside_inference(transformer).square().mean().backward()
    assert all(each.grad is not None and each.grad.abs().sum() > 0 for each in held)


def outside_inference(transformer: FluxTransformer2DModel) -> torch.Tensor:
    text, noise = torch.randn(1, 5, 32), torch.randn(1, 6, 64)
    ids = {"txt_ids": torch.zeros(5, 3), "img_ids": torch.zeros(6, 3)}
    at = {"timestep": torch.tensor([0.4]), "guidance": torch.tensor([1.0]), "pooled_projections": text[:, 0]}
    return transformer(hidden_states=noise, encoder_hidden_states=text, **at, **ids, return_dict=False)[0]


def test_dora_answers_as_peft_s_own():
    ours, peft_s = frozen_transformer(), frozen_transformer()
    adapter = learned_kind(start(ours, AdapterKind.dora), 0.05)
    load_into(ours, adapter)
    rank = 4
    names = list(adapter.deltas)
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names, use_dora=True)
    inject_adapter_in_model(config, peft_s, adapter_name=PEFT_NAME)
    for name, delta in adapter.deltas.items():
        module = peft_s.get_submodule(name)
        assert isinstance(delta, DoRA)
        with torch.no_grad():
            module.lora_A[PEFT_NAME].weight.copy_(delta.lora.down)
            module.lora_B[PEFT_NAME].weight.copy_(delta.lora.up)
            module.lora_magnitude_vector[PEFT_NAME].weight.copy_(delta.magnitude)
    torch.testing.assert_close(answer(ours), answer(peft_s), rtol=1e-4, atol=1e-5)


def test_half_of_a_dora_is_half_of_its_change():
    layer = nn.Sequential(nn.Linear(32, 48))
    adapter = attach(layer, ["0"], rank=4, alpha=4.0, generator=Generator().manual_seed(0), kind=AdapterKind.dora)
    x = torch.randn(3, 32)
    base = layer(x)
    load_into(layer, learned_kind(adapter))
    whole = layer(x)
    set_strength(layer, 0.5)
    torch.testing.assert_close(layer(x), (base + whole) / 2)


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        (AdapterKind.dora, Quantization.int8),
        (AdapterKind.dora, Quantization.nf4),
        (AdapterKind.lokr, Quantization.int8),
        (AdapterKind.loha, Quantization.int8),
    ],
)
def test_on_a_quantised_base_it_changes_the_weight_that_the_codes_stand_for(kind: AdapterKind, how: Quantization):
    frozen = frozen_linear(torch.randn(64, 128) / 11, how)
    assert isinstance(frozen, FrozenLinear)
    frozen.bias = nn.Parameter(torch.randn(64), requires_grad=False)
    layer, weight, x = nn.Sequential(frozen), frozen.dequantised(torch.float32), torch.randn(3, 128)
    base = layer(x)
    adapter = attach(layer, ["0"], rank=4, alpha=4.0, generator=Generator().manual_seed(0), kind=kind)
    assert torch.equal(layer(x), base)
    adapter = learned_kind(adapter, 0.05)
    load_into(layer, adapter)
    changed = linear(x, weight + delta_of(adapter.deltas["0"], weight), frozen.bias)
    torch.testing.assert_close(layer(x), changed, rtol=1e-4, atol=1e-4)


def test_types_may_be_mixed_and_a_lokr_may_have_any_factors():
    transformer = frozen_transformer()
    other = start(frozen_transformer(), AdapterKind.loha).deltas
    lokr = LoKr(None, torch.randn(4, 2), torch.randn(2, 8), None, torch.randn(8, 3), torch.randn(3, 4), alpha=6.0)
    keys = [name for name in other if "single" in name]
    mixed = Adapter({Q: lokr, **{name: other[name] for name in keys}})
    load_into(transformer, mixed)
    weight = transformer.get_submodule(Q).get_submodule("base_layer").weight
    assert isinstance(weight, torch.Tensor)
    torch.testing.assert_close(delta_of(adapter_of(transformer).deltas[Q]), delta_of(lokr))
    x = torch.randn(2, 32)
    torch.testing.assert_close(
        transformer.get_submodule(Q)(x)
        - linear(x, weight, transformer.get_submodule(Q).get_submodule("base_layer").bias),
        linear(x, delta_of(lokr)),
        rtol=1e-4,
        atol=1e-4,
    )


def test_what_no_model_can_be_given_here_is_refused_with_the_way_out():
    by_inputs = DoRA(LoRA(torch.zeros(2, 32), torch.zeros(32, 2), 2.0), torch.ones(32), per_input=True)
    with pytest.raises(AdapterFileError, match="a DoRA by inputs cannot be put into a model") as refused:
        load_into(frozen_transformer(), Adapter({Q: by_inputs}))
    assert "flux-lora resize" in refused.value.fix
