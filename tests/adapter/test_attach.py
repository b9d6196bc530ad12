"""An adapter in a transformer."""

import pytest
import torch
from torch import Generator

from flux_lora.adapter.attach import adapter_of, attach, detach, load_into, set_strength, trainable_layers
from flux_lora.adapter.layer_types import Adapter, LoRA, lora_delta, rounded
from flux_lora.config.choices import AdapterTargets
from flux_lora.errors import AdapterFileError
from tests.adapter.example_adapters import answer, frozen_transformer, learned, learned_adapter
from tests.tiny import flux1_layers

EVERYTHING = AdapterTargets.blocks_all


def start(transformer, seed: int = 0, rank: int = 4) -> Adapter:
    generator = Generator().manual_seed(seed)
    layers = flux1_layers(transformer, EVERYTHING)
    return attach(transformer, layers, rank=rank, alpha=2.0 * rank, generator=generator)


def test_a_fresh_adapter_changes_nothing():
    transformer = frozen_transformer()
    before = answer(transformer)
    start(transformer)
    assert torch.equal(answer(transformer), before)


def test_every_target_and_only_they_can_be_trained():
    transformer = frozen_transformer()
    names = flux1_layers(transformer, EVERYTHING)
    adapter = start(transformer)
    trainable = {name for name, parameter in transformer.named_parameters() if parameter.requires_grad}
    assert list(adapter.layers) == names
    assert len(trainable) == 2 * len(names) and all("lora_" in name for name in trainable)


def test_the_start_follows_from_the_generator_and_leaves_the_global_one_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    one, same, other = (start(frozen_transformer(), seed) for seed in (0, 0, 1))
    assert torch.equal(torch.rand(4), expected)
    name = next(iter(one.layers))
    assert torch.equal(one.layers[name].down, same.layers[name].down)
    assert not torch.equal(one.layers[name].down, other.layers[name].down)


@pytest.mark.parametrize("stored", [torch.float8_e4m3fn, torch.int8])
def test_an_adapter_computes_as_its_base_does_however_its_weights_are_stored(stored: torch.dtype):
    transformer = frozen_transformer(torch.bfloat16)
    for linear in transformer.transformer_blocks.modules():
        if isinstance(linear, torch.nn.Linear):
            linear.weight = torch.nn.Parameter(linear.weight.to(stored), requires_grad=False)
    start(transformer)
    held = [parameter for layer in trainable_layers(transformer).values() for parameter in layer.parameters]
    assert {parameter.dtype for parameter in held} == {torch.bfloat16}
    assert all(parameter.requires_grad for parameter in held)


def test_a_loaded_adapter_acts_like_the_changed_weights():
    transformer, merged = frozen_transformer(), frozen_transformer()
    adapter = learned(start(transformer))
    load_into(transformer, adapter)
    for name, layer in adapter.layers.items():
        merged.get_submodule(name).weight += lora_delta(layer)
    torch.testing.assert_close(answer(transformer), answer(merged), rtol=1e-4, atol=1e-5)


def test_what_was_loaded_is_read_back():
    transformer = frozen_transformer()
    adapter = learned_adapter(alpha=6.0)
    load_into(transformer, adapter)
    held = adapter_of(transformer)
    assert set(held.layers) == set(adapter.layers)
    for name, layer in adapter.layers.items():
        assert torch.equal(held.layers[name].down, layer.down) and torch.equal(held.layers[name].up, layer.up)
        assert held.layers[name].alpha == pytest.approx(layer.alpha)


def test_a_bf16_transformer_holds_the_adapter_in_bf16_and_the_truth_stays_fp32():
    transformer = frozen_transformer(torch.bfloat16)
    adapter = start(transformer)
    assert {each.dtype for layer in trainable_layers(transformer).values() for each in layer.parameters} == {
        torch.bfloat16
    }
    name = next(iter(adapter.layers))
    assert adapter.layers[name].down.dtype == torch.float32
    assert torch.equal(adapter_of(transformer).layers[name].down, rounded(adapter, torch.bfloat16).layers[name].down)


def test_strength_zero_is_the_base_and_one_is_back():
    transformer = frozen_transformer()
    before = answer(transformer)
    load_into(transformer, learned_adapter())
    full = answer(transformer)
    set_strength(transformer, 0.0)
    assert torch.equal(answer(transformer), before) and not torch.equal(full, before)
    set_strength(transformer, 1.0)
    assert torch.equal(answer(transformer), full)


def test_detach_leaves_the_base_as_it_was():
    transformer = frozen_transformer()
    before, names = answer(transformer), [name for name, _ in transformer.named_parameters()]
    load_into(transformer, learned_adapter())
    detach(transformer)
    assert [name for name, _ in transformer.named_parameters()] == names
    assert torch.equal(answer(transformer), before)


def test_adapters_of_other_and_of_mixed_ranks_take_the_place_of_the_first():
    transformer = frozen_transformer()
    load_into(transformer, learned_adapter(rank=4))
    wide, narrow = learned_adapter(rank=5, alpha=5.0), learned_adapter(rank=2, alpha=1.0)
    mixed = Adapter({name: (wide if "attn" in name else narrow).layers[name] for name in wide.layers})
    load_into(transformer, mixed)
    assert {name: layer.rank for name, layer in adapter_of(transformer).layers.items()} == {
        name: layer.rank for name, layer in mixed.layers.items()
    }


def test_layers_may_have_ranks_of_their_own_and_the_scale_is_the_same_for_all():
    transformer, ranks = frozen_transformer(), {"transformer_blocks.0.attn.to_q": 2, "transformer_blocks.0.ff.net.2": 6}
    before = answer(transformer)
    adapter = attach(transformer, ranks, rank=4, alpha=2.0, generator=Generator().manual_seed(0))
    assert {name: layer.rank for name, layer in adapter.layers.items()} == ranks
    assert {layer.scale for layer in adapter.layers.values()} == {0.5}
    assert torch.equal(answer(transformer), before)
    assert {name: layer.scale for name, layer in adapter_of(transformer).layers.items()} == dict.fromkeys(ranks, 0.5)


def test_an_adapter_of_another_base_is_refused_and_named():
    layer = LoRA(torch.zeros(2, 99), torch.zeros(32, 2), 2.0)
    with pytest.raises(AdapterFileError, match="to_q .32 x 99., but this base has 32 x 32 there"):
        load_into(frozen_transformer(), Adapter({"transformer_blocks.0.attn.to_q": layer}))
    with pytest.raises(AdapterFileError, match="has no such layer"):
        load_into(frozen_transformer(), Adapter({"transformer_blocks.7.attn.to_q": layer}))
