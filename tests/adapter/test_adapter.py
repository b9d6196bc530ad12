"""An adapter's algebra."""

import pytest
import torch
from torch import Generator

from flux_lora.adapter.layer_types import (
    Adapter,
    LoRA,
    adapter_at_strength,
    delta_distance,
    frobenius_norm,
    lora_delta,
    rounded,
)


def layer(seed: int, rank: int = 3, alpha: float = 6.0) -> LoRA:
    generator = Generator().manual_seed(seed)
    return LoRA(torch.randn(rank, 7, generator=generator), torch.randn(5, rank, generator=generator), alpha)


def test_delta_is_alpha_over_rank_times_up_down():
    one = layer(0)
    torch.testing.assert_close(lora_delta(one), 2 * one.up @ one.down)


def test_half_the_strength_is_half_the_change():
    adapter = adapter_at_strength(Adapter({"a": layer(0)}), 0.5)
    torch.testing.assert_close(lora_delta(adapter.layers["a"]), 0.5 * lora_delta(layer(0)))


def test_size_is_the_norm_of_the_change():
    assert frobenius_norm(layer(0)) == pytest.approx(lora_delta(layer(0)).norm().item(), rel=1e-6)


def test_distance_is_the_norm_of_the_difference_even_across_ranks():
    one, other = layer(0), layer(1, rank=2, alpha=1.0)
    assert delta_distance(one, other) == pytest.approx((lora_delta(one) - lora_delta(other)).norm().item(), rel=1e-6)
    assert delta_distance(one, one) < 1e-6 * frobenius_norm(one)


def test_distance_does_not_mind_columns_of_zeros_nor_which_side_has_them():
    one, gaps = layer(0), torch.zeros(layer(0).up.shape[0], 4)
    wider = LoRA(torch.cat([one.down, torch.randn(4, one.down.shape[1])]), torch.cat([one.up, gaps], 1), one.scale * 7)
    assert delta_distance(wider, one) == delta_distance(one, wider) == 0.0
    nothing = LoRA(one.down, torch.zeros_like(one.up), 1.0)
    assert delta_distance(nothing, one) == pytest.approx(frobenius_norm(one))
    assert delta_distance(nothing, nothing) == 0.0


def test_a_number_that_is_not_finite_shows_in_the_size():
    one = layer(0)
    one.up[0, 0] = float("nan")
    assert frobenius_norm(one) != frobenius_norm(one)


def test_rounding_gives_what_a_bf16_file_can_hold():
    after = rounded(Adapter({"a": layer(0)}), torch.bfloat16).layers["a"]
    assert after.down.dtype == torch.float32
    assert torch.equal(after.down, after.down.bfloat16().float())


def test_ranks_and_alphas_are_listed_once():
    adapter = Adapter({"a": layer(0), "b": layer(1), "c": layer(2, rank=2, alpha=1.0)})
    assert (adapter.ranks, adapter.alphas) == ((2, 3), (1.0, 6.0))
