"""Intervals cover, repeat, and pair."""

import pytest
import torch

from flux_lora.evaluate.estimate import difference, estimate, ratio


def test_an_interval_holds_its_mean_and_narrows_with_more_prompts() -> None:
    values = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
    few, many = estimate(values[:5]), estimate(values)
    assert few.low < few.value < few.high
    assert many.high - many.low < few.high - few.low


def test_images_of_one_prompt_do_not_count_as_independent() -> None:
    by_prompt = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    repeated = by_prompt.expand(4, 50)
    assert estimate(by_prompt).low == pytest.approx(estimate(repeated).low)


def test_a_share_of_itself_is_one_without_doubt() -> None:
    values = torch.rand(6, 2, generator=torch.Generator().manual_seed(1)) + 0.5
    share = ratio(values, values)
    assert (share.value, share.low, share.high) == pytest.approx((1, 1, 1))


def test_a_steady_gap_is_clear_even_where_prompts_differ_a_lot() -> None:
    values = torch.linspace(0, 1, 8).unsqueeze(1)
    gap = difference(estimate(values + 0.1), estimate(values))
    assert gap.low == pytest.approx(0.1, abs=1e-6)
