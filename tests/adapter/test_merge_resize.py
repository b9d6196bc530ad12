"""Merging, resizing and the rest do to changes what their names say, for any shapes, ranks and strengths."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from flux_lora.adapter.dialects.module_names import diffusers_names
from flux_lora.adapter.layer_types import Adapter, LoKr, LoRA, delta_distance, delta_of, frobenius_norm, lora_delta
from flux_lora.adapter.low_rank import as_lora, nearest_lora, nearest_lora_of_matrix
from flux_lora.adapter.merge_resize import (
    cast_adapter,
    extract_lora,
    merge_adapters,
    resize_adapter,
    resize_adapter_by_energy,
    singular_values,
    split_by_pattern,
    subtract_adapters,
)
from flux_lora.errors import AdapterFileError, ConfigError
from tests.adapter.deltas import INPUTS, KINDS, change, drawn, loha, lokr, lora, weight

SIDES = {"a": (7, 5), "b": (4, 9), "c": (6, 6)}
"""Outputs and inputs of three modules."""


@st.composite
def adapters(draw: st.DrawFn) -> Adapter:
    """Some of the modules, each with its own rank (wider than the layer, too) and alpha."""
    names = draw(st.lists(st.sampled_from(sorted(SIDES)), min_size=1, unique=True))
    generator = Generator().manual_seed(draw(st.integers(0, 2**20)))
    layers = {}
    for name in names:
        (outputs, inputs), rank = SIDES[name], draw(st.integers(1, 8))
        down, up = (torch.randn(shape, generator=generator) for shape in ((rank, inputs), (outputs, rank)))
        layers[name] = LoRA(down, up, draw(st.floats(0.25, 16.0)))
    return Adapter(layers)


strengths = st.floats(-2, 2)


@given(adapters(), adapters(), strengths, strengths)
@settings(max_examples=60)
def test_a_merge_is_the_sum_of_the_changes_each_at_its_strength(one: Adapter, other: Adapter, s1: float, s2: float):
    both = merge_adapters([one, other], [s1, s2])
    assert set(both.deltas) == set(one.deltas) | set(other.deltas)
    for name in both.deltas:
        close(changed(both, name), s1 * changed(one, name) + s2 * changed(other, name))


@given(adapters())
@settings(max_examples=30)
def test_what_is_subtracted_from_itself_is_nothing(adapter: Adapter):
    for name, layer in subtract_adapters(adapter, adapter).layers.items():
        assert frobenius_norm(layer) <= 1e-5 * frobenius_norm(adapter.layers[name])


@given(adapters(), st.integers(1, 10))
@settings(max_examples=60)
def test_resizing_is_the_best_that_its_rank_can_do_and_states_its_error(adapter: Adapter, rank: int):
    after = resize_adapter(adapter, rank)
    assert after.adapter.ranks == (rank,) and after.adapter.alphas == (float(rank),)
    for name, layer in adapter.layers.items():
        values = torch.linalg.svdvals(lora_delta(layer).double())
        best = (values[rank:].norm() / values.norm()).item()
        lost = delta_distance(after.adapter.layers[name], layer) / frobenius_norm(layer)
        assert after.errors[name] == pytest.approx(best, abs=1e-6) and lost == pytest.approx(best, abs=1e-5)


@given(adapters(), st.floats(0.1, 1.0))
@settings(max_examples=60)
def test_the_kept_energy_is_reached_and_no_smaller_rank_would_do(adapter: Adapter, keep: float):
    after = resize_adapter_by_energy(adapter, keep)
    for name, layer in adapter.layers.items():
        share = singular_values(layer).square()
        share = share / share.sum()
        rank = after.adapter.layers[name].rank
        assert share[:rank].sum() >= keep - 1e-9
        assert rank == 1 or share[: rank - 1].sum() < keep
        assert after.errors[name] <= (1 - keep) ** 0.5 + 1e-6


@given(adapters())
@settings(max_examples=30)
def test_energy_is_the_singular_values_of_the_change(adapter: Adapter):
    for layer in adapter.layers.values():
        exact = torch.linalg.svdvals(lora_delta(layer).double())[: len(singular_values(layer))]
        torch.testing.assert_close(singular_values(layer), exact, rtol=1e-4, atol=1e-5)


def test_resizing_to_its_own_rank_loses_nothing_and_shares_the_size_between_the_sides():
    layer = LoRA(drawn(3, 40) * 1e-4, drawn(30, 3) * 1e4, 3.0)
    after = resize_adapter(Adapter({"a": layer}), 3)
    assert after.worst < 1e-6
    held = after.adapter.layers["a"]
    torch.testing.assert_close(held.down.norm(), held.up.norm(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_becomes_a_lora_with_its_error_stated(kind: str):
    adapter = Adapter({"a": change(kind)})
    whole = delta_of(change(kind), weight())
    exact, near = (resize_adapter(adapter, rank, weights={"a": weight()}.__getitem__) for rank in (8, 2))
    assert exact.worst < 1e-5
    close(changed(exact.adapter, "a"), whole)
    assert near.worst == pytest.approx(((changed(near.adapter, "a") - whole).norm() / whole.norm()).item(), abs=1e-5)


def test_a_lokr_of_the_whole_qkv_becomes_a_lora_of_q_k_and_v():
    module = "double_blocks.3.img_attn.qkv"
    after = resize_adapter(Adapter({module: lokr()}), 8)
    names = [f"transformer_blocks.3.attn.to_{part}" for part in "qkv"]
    assert list(after.adapter.layers) == names and after.errors[module] < 1e-5
    close(torch.cat([changed(after.adapter, name) for name in names]), delta_of(lokr()))


@pytest.mark.parametrize("module", ["double_blocks.3.img_attn.qkv", "single_blocks.3.linear1"])
def test_parts_of_a_lokr_that_share_a_matrix_each_get_the_whole_rank(module: str):
    parts = diffusers_names(module)
    drawn = torch.Generator().manual_seed(3)
    w1, w2 = torch.randn(sum(parts.shares) * 2, 2, generator=drawn), torch.randn(4, 12, generator=drawn)
    whole = delta_of(LoKr(w1, None, None, w2, None, None, 1.0))
    after = resize_adapter(Adapter({module: LoKr(w1, None, None, w2, None, None, 1.0)}), 2)
    rows = whole.split([8 * share for share in parts.shares])
    best = [torch.linalg.svdvals(part.double())[2:].norm() for part in rows]
    assert after.adapter.ranks == (2,)
    assert after.errors[module] == pytest.approx((torch.stack(best).norm() / whole.norm()).item(), abs=1e-5)
    made = torch.cat([changed(after.adapter, name) for name in parts.names])
    assert (made - whole).norm() / whole.norm() == pytest.approx(after.errors[module], abs=1e-5)


@pytest.mark.parametrize("module", ["a", "double_blocks.3.img_attn.qkv"])
@pytest.mark.parametrize("keep", [0.5, 0.9, 1.0])
def test_the_energy_of_a_lokr_is_kept_as_that_of_a_lora(module: str, keep: float):
    after = resize_adapter_by_energy(Adapter({module: lokr()}), keep)
    whole = delta_of(lokr())
    parts = dict.fromkeys(after.adapter.deltas) if module == "a" else dict.fromkeys(diffusers_names(module).names)
    rows = whole.chunk(len(parts))
    for name, part in zip(parts, rows, strict=True):
        values = torch.linalg.svdvals(part.double()).square()
        rank = after.adapter.layers[name].rank
        assert values[:rank].sum() >= (keep - 1e-6) * values.sum()
        assert rank == 1 or values[: rank - 1].sum() < (keep + 1e-6) * values.sum()
    made = torch.cat([changed(after.adapter, name) for name in parts])
    assert (made - whole).norm() / whole.norm() == pytest.approx(after.errors[module], abs=1e-5)


def test_a_lokr_larger_than_any_layer_is_refused_before_its_matrix_is_built():
    hostile = LoKr(torch.randn(3, 40_000), None, None, torch.randn(40_000, 1), None, None, 1.0)
    with pytest.raises(AdapterFileError, match="FLUX has none that large"):
        resize_adapter(Adapter({"double_blocks.3.img_attn.qkv": hostile}), 2)


def test_a_loha_is_a_lora_of_its_rank_squared_exactly():
    layer = as_lora(loha(rank=2))
    assert layer is not None and layer.rank == 4
    close(lora_delta(layer), delta_of(loha(rank=2)))


def test_a_loha_and_a_lora_on_one_module_merge_exactly():
    both = merge_adapters([Adapter({"a": loha()}), Adapter({"a": lora()})], [0.5, 2.0])
    close(changed(both, "a"), 0.5 * delta_of(loha()) + 2.0 * delta_of(lora()))


@pytest.mark.parametrize("rank", [1, 3, 8, 40])
def test_a_lokr_is_resized_as_the_matrix_that_it_stands_for(rank: int):
    layer, error = nearest_lora(lokr(), rank)
    by_matrix, its_error = nearest_lora_of_matrix(delta_of(lokr()), rank)
    torch.testing.assert_close(lora_delta(layer), lora_delta(by_matrix), rtol=1e-4, atol=1e-5)
    assert error == pytest.approx(its_error, abs=1e-6)
    assert layer.rank == rank


def test_a_lokr_as_large_as_flux1_has_them_is_resized_without_its_matrix():
    drawn = torch.Generator().manual_seed(0)
    w1, w2 = torch.randn(16, 16, generator=drawn), torch.randn(1344, 192, generator=drawn)
    layer, error = nearest_lora(LoKr(w1, None, None, w2, None, None, 1.0), 4)
    assert (layer.shape, layer.rank) == ((21504, 3072), 4)
    whole = w1.double().norm() * w2.double().norm()
    kept = torch.outer(*(torch.linalg.svdvals(factor.double()) for factor in (w1, w2))).flatten().topk(4).values
    assert frobenius_norm(layer) == pytest.approx(kept.norm().item(), rel=1e-5)
    assert error == pytest.approx((1 - (kept.norm() / whole) ** 2).sqrt().item(), rel=1e-6)


@pytest.mark.parametrize("kind", ["DoRA", "LoKr", "OFT"])
def test_kinds_that_have_no_exact_sum_are_refused_by_name_but_pass_alone(kind: str):
    other = Adapter({"b": change(kind)})
    assert set(merge_adapters([Adapter({"a": lora()}), other], [0.5, 1.0]).deltas) == {"a", "b"}
    with pytest.raises(AdapterFileError, match=f"b is changed by an? {kind} and by another adapter"):
        merge_adapters([Adapter({"b": lora()}), other], [1.0, 1.0])


def test_one_adapter_s_qkv_and_another_s_q_are_refused_until_the_first_is_a_lora():
    whole, part = Adapter({"double_blocks.3.img_attn.qkv": lokr()}), "transformer_blocks.3.attn.to_q"
    one = Adapter({part: LoRA(drawn(2, INPUTS), drawn(4, 2), 2.0)})
    with pytest.raises(AdapterFileError, match=f"qkv is changed by a LoKr, and {part}, a part of it"):
        merge_adapters([whole, one], [1.0, 1.0])
    assert set(merge_adapters([resize_adapter(whole, 8).adapter, one], [1.0, 1.0]).layers) >= {part}


def test_adapters_of_two_bases_do_not_merge():
    with pytest.raises(AdapterFileError, match="a is 5 x 7 and 12 x 8 in adapters"):
        merge_adapters([Adapter({"a": lora()}), Adapter({"a": LoRA(drawn(2, 7), drawn(5, 2), 2.0)})], [1.0, 1.0])


def test_each_file_wants_one_strength():
    with pytest.raises(ConfigError, match=r"1 adapter\(s\) are to be merged at 2 strength"):
        merge_adapters([Adapter({"a": lora()})], [1.0, 1.0])


def test_splitting_loses_no_module_and_merging_puts_it_together():
    names = ["transformer_blocks.0.attn.to_q", "single_transformer_blocks.0.attn.to_q", "proj_out"]
    adapter = Adapter({name: lora(seed=at) for at, name in enumerate(names)})
    chosen, rest = split_by_pattern(adapter, r"single_transformer_blocks\..*")
    assert list(chosen.deltas) == names[1:2] and set(rest.deltas) == {names[0], names[2]}
    with pytest.raises(ConfigError, match="'\\(' is not a pattern"):
        split_by_pattern(adapter, "(")


def test_casting_keeps_every_tensor_s_value_as_far_as_the_dtype_can():
    layer = cast_adapter(Adapter({"a": lora()}), torch.float16).layers["a"]
    assert torch.equal(layer.up, lora().up.half()) and torch.equal(layer.down, lora().down.half())


def test_a_number_that_fp16_cannot_hold_is_refused():
    with pytest.raises(AdapterFileError, match=r"the adapter holds 1e\+06, more than float16 can"):
        cast_adapter(Adapter({"a": LoRA(torch.ones(1, 3), torch.full((3, 1), 1e6), 1.0)}), torch.float16)


def test_what_was_merged_into_a_checkpoint_is_extracted_from_it_again():
    before = {"a": weight(), "b": weight()}
    after = {"a": before["a"] + lora_delta(lora()), "b": before["b"]}
    found = extract_lora(before.__getitem__, after.__getitem__, ["a", "b"], rank=3)
    assert set(found.adapter.deltas) == {"a"}, "b did not change"
    assert found.worst < 1e-5
    close(changed(found.adapter, "a"), lora_delta(lora()))


def test_a_large_matrix_is_cut_nearly_as_well_as_possible_and_the_same_each_time():
    rows = torch.linalg.qr(drawn(1100, 1100))[0] * torch.arange(1, 1101).rsqrt()
    layer, error = nearest_lora_of_matrix(rows, 8)
    values = torch.arange(1, 1101).rsqrt()
    best = (values[8:].norm() / values.norm()).item()
    assert best <= error <= 1.001 * best
    assert torch.equal(layer.up, nearest_lora_of_matrix(rows, 8)[0].up)


def test_numbers_that_are_not_finite_are_refused():
    layer = LoRA(drawn(2, 4), torch.full((3, 2), float("nan")), 2.0)
    with pytest.raises(AdapterFileError, match="^a holds numbers that are not finite"):
        resize_adapter(Adapter({"a": layer}), 1)
    with pytest.raises(AdapterFileError, match="not finite"):
        singular_values(layer)


def test_a_change_that_is_nothing_stays_nothing():
    nothing = Adapter({"a": LoRA(drawn(2, 4), torch.zeros(3, 2), 2.0)})
    for after in (resize_adapter(nothing, 1), resize_adapter_by_energy(nothing, 0.9)):
        assert after.errors == {"a": 0.0} and not changed(after.adapter, "a").any()


@pytest.mark.parametrize(("rank", "keep"), [(0, 0.5), (1, 0.0), (1, 1.5)])
def test_impossible_sizes_are_refused(rank: int, keep: float):
    with pytest.raises(ConfigError, match="rank is 0|the energy to keep is"):
        resize_adapter_by_energy(resize_adapter(Adapter({"a": lora()}), rank).adapter, keep)


def changed(adapter: Adapter, name: str) -> Tensor:
    """The module's change; zero where the adapter leaves it alone."""
    return delta_of(adapter.deltas[name]) if name in adapter.deltas else torch.zeros(SIDES[name])


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
