"""Limits first, then likeness; a tie goes to the plain strength, then to less leakage, then to the earlier."""

from dataclasses import fields

import torch

from flux_lora.evaluate.choice import LIMITS as BOUNDS
from flux_lora.evaluate.choice import ChoiceLimits, choose_checkpoint, within_limits
from flux_lora.evaluate.scores import Estimate, Score, estimate

LIMITS = ChoiceLimits(max_leakage=0.25, min_adherence=0.85)


def _steady(value: float, *, wobble: float = 0.0, seed: int = 0) -> Estimate:
    noise = torch.randn(8, 2, generator=torch.Generator().manual_seed(seed)) * wobble
    return estimate(value + noise - noise.mean())


def _score(step: int, likeness: float, *, leakage: float = 0.1, adherence: float = 1.0, **more: float) -> Score:
    return Score(
        step=step,
        strength=more.get("strength", 1.0),
        likeness=_steady(likeness, wobble=more.get("wobble", 0.0), seed=step),
        adherence=_steady(adherence),
        leakage=_steady(leakage),
    )


def test_the_most_alike_within_the_limits_is_chosen() -> None:
    choice = choose_checkpoint([_score(100, 0.5), _score(200, 0.8), _score(300, 0.95, leakage=0.4)], LIMITS)
    assert (choice.step, choice.passes) == (200, True)
    assert "2 of the 3 candidates" in choice.why
    assert "80%" in choice.why


def test_a_gap_within_chance_goes_to_the_earlier_checkpoint_and_says_so() -> None:
    choice = choose_checkpoint([_score(200, 0.80, wobble=0.1), _score(300, 0.83, wobble=0.1)], LIMITS)
    assert choice.step == 200
    assert "Step 300" in choice.why
    assert "not clearly" in choice.why


def test_of_two_that_are_alike_the_one_that_leaks_less_is_taken_however_late() -> None:
    early, late = _score(200, 0.80, leakage=0.2, wobble=0.1), _score(300, 0.78, leakage=0.02, wobble=0.1)
    choice = choose_checkpoint([early, late], LIMITS)
    assert choice.step == 300
    assert "changes other images less (2% against 20%)" in choice.why


def test_a_weaker_strength_is_not_taken_for_leaking_less() -> None:
    weak = _score(300, 0.81, strength=0.8, leakage=0.01, wobble=0.1)
    assert choose_checkpoint([_score(200, 0.80, wobble=0.1), weak], LIMITS).strength == 1.0


def test_a_small_but_steady_gap_is_a_gap() -> None:
    assert choose_checkpoint([_score(200, 0.80), _score(300, 0.83)], LIMITS).step == 300


def test_a_wide_gap_wins_even_where_chance_cannot_be_excluded() -> None:
    assert choose_checkpoint([_score(200, 0.60, wobble=0.6), _score(300, 0.80, wobble=0.6)], LIMITS).step == 300


def test_of_equal_strengths_the_plain_one_is_taken() -> None:
    choice = choose_checkpoint(
        [_score(200, 0.8, strength=0.8), _score(200, 0.8), _score(200, 0.8, strength=1.2)], LIMITS
    )
    assert choice.strength == 1.0


def test_if_none_passes_the_nearest_is_named_with_what_to_try() -> None:
    choice = choose_checkpoint([_score(100, 0.7, leakage=0.3), _score(200, 0.9, leakage=0.6, adherence=0.5)], LIMITS)
    assert (choice.step, choice.passes) == (100, False)
    assert "No candidate" in choice.why
    assert "leakage is 30% (at most 25%)" in choice.why
    assert "strength" in choice.why


def test_a_faint_winner_is_called_faint() -> None:
    assert "faint" in choose_checkpoint([_score(100, 0.1)], LIMITS).why


def test_every_limit_of_the_recipe_is_kept_or_broken_on_its_side() -> None:
    assert {limit.knob for limit in BOUNDS} == {field.name for field in fields(ChoiceLimits)}
    assert within_limits(_score(100, 0.1, leakage=0.24, adherence=0.86), LIMITS)
    assert not within_limits(_score(100, 0.9, leakage=0.26), LIMITS)
    assert not within_limits(_score(100, 0.9, adherence=0.84), LIMITS)


def test_a_choice_and_a_refusal_name_the_limits_with_their_numbers() -> None:
    why = choose_checkpoint([_score(100, 0.9)], LIMITS).why
    assert "keeps leakage at or below 25% and prompt following at or above 85% of the base." in why
    why = choose_checkpoint([_score(100, 0.9, leakage=0.3, adherence=0.5)], LIMITS).why
    assert "leakage is 30% (at most 25%) and prompt following is 50% (at least 85%)" in why
