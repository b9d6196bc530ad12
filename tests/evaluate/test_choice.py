"""Learned first, then limits, then likeness; a tie goes to the plain strength, to less leakage, to the earlier."""

from dataclasses import fields, replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from flux_lora.evaluate.choice import LIMITS as BOUNDS
from flux_lora.evaluate.choice import ChoiceLimits, Verdict, choose_checkpoint, has_learned, within_limits
from flux_lora.evaluate.estimate import Estimate, estimate
from flux_lora.evaluate.scores import METRICS, Score

LIMITS = ChoiceLimits(max_leakage=0.25, min_adherence=0.85)


def _steady(value: float, *, wobble: float = 0.0, seed: int = 0) -> Estimate:
    noise = torch.randn(8, 2, generator=torch.Generator().manual_seed(seed)) * wobble
    return estimate(value + noise - noise.mean())


def _score(step: int, likeness: float, *, strength: float = 1.0, wobble: float = 0.0, **more: float) -> Score:
    """A candidate that has learned as much as it is alike, and spoils nothing but what is said."""
    values = dict.fromkeys((metric.name for metric in METRICS), 0.1) | {
        "recognised": likeness,
        "retrieval": likeness,
        "adherence": 1.0,
        "variety": 1.0,
        **more,
    }
    steady = {name: _steady(value) for name, value in values.items()}
    return Score(step, strength, steady | {"likeness": _steady(likeness, wobble=wobble, seed=step)})


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
    assert choice.verdict is Verdict.not_yet
    assert "no candidate that has it keeps within the limits" in choice.why
    assert "leakage is 30% (at most 25%)" in choice.why
    assert "strength" in choice.why


def test_what_has_not_learned_is_never_chosen_however_well_it_behaves():
    """An adapter that does nothing spoils nothing."""
    idle, spoiling = _score(100, 0.0), _score(200, 0.9, leakage=0.6)
    assert [limit.knob for limit in BOUNDS if not limit.keeps(idle, LIMITS)] == ["min_recognised"]
    choice = choose_checkpoint([idle, spoiling], LIMITS)
    assert (choice.step, choice.verdict, choice.passes) == (200, Verdict.not_yet, False)


def test_one_that_shows_nothing_and_changes_everything_is_called_too_strong_not_too_weak() -> None:
    strong = choose_checkpoint([_score(200, 0.1, leakage=0.9)], LIMITS)
    assert strong.verdict is Verdict.nothing
    assert "too strong" in strong.why
    for weak in (_score(200, 0.1, leakage=0.02), _score(200, 0.6, recognised=0.0, leakage=0.4)):
        assert "too strong" not in choose_checkpoint([weak], LIMITS).why


def test_if_none_has_learned_there_is_nothing_to_ship_and_the_nearest_is_named():
    choice = choose_checkpoint([_score(100, 0.02), _score(200, 0.1)], LIMITS)
    assert (choice.step, choice.verdict, choice.passes) == (200, Verdict.nothing, False)
    assert "as a whole in 10% of its images" in choice.why
    assert "Likeness still rises (2% at step 100, 10% at 200): train for more steps." in choice.why


def test_the_trend_is_that_of_the_strength_nearest_to_1():
    """Flat at 0.8 and rising at 1 once read "does not rise any more", and flat at 1 "falls"."""
    rising = [_score(100, 0.02), _score(200, 0.1), *(_score(step, 0.01, strength=0.8) for step in (100, 200))]
    assert "Likeness still rises (2% at step 100, 10% at 200)" in choose_checkpoint(rising, LIMITS).why
    flat = [_score(100, 0.1), _score(200, 0.09), _score(100, 0.1, strength=0.8), _score(200, 0.01, strength=0.8)]
    assert "falls" not in choose_checkpoint(flat, LIMITS).why


def test_one_checkpoint_has_no_trend_and_anothers_file_no_advice_on_training():
    alone = choose_checkpoint([_score(100, 0.1), _score(100, 0.05, strength=0.8)], LIMITS).why
    assert "Try more steps" in alone and "rise" not in alone and "fall" not in alone
    file = choose_checkpoint([_score(0, 0.1)], LIMITS).why
    assert "the word that the file was trained with" in file and "learning rate" not in file


def test_what_may_be_chance_is_named_and_a_bound_that_is_met_is_not():
    why = choose_checkpoint([_score(100, 0.9, recognised=1.0, retrieval=-0.1)], LIMITS).why
    assert why.startswith("No candidate has learned the subject")
    assert "do not clearly find its images before the base's own (found again -10%" in why
    assert "are asked for" not in why


def test_likeness_that_falls_or_stays_gets_other_advice():
    assert "falls after step 100" in choose_checkpoint([_score(100, 0.1), _score(200, 0.02)], LIMITS).why
    assert "train.preservation" in choose_checkpoint([_score(100, 0.1), _score(200, 0.11)], LIMITS).why


def test_images_that_the_photos_find_no_sooner_than_the_base_s_have_not_learned():
    assert has_learned(_score(1, 0.9), LIMITS)
    assert not has_learned(_score(1, 0.9, retrieval=0.0), LIMITS)
    assert not has_learned(_score(1, 0.9, recognised=0.19), LIMITS)


def test_what_shows_the_subject_too_rarely_has_learned_and_does_not_ship():
    choice = choose_checkpoint([_score(100, 0.3)], LIMITS)
    assert (choice.verdict, choice.passes) == (Verdict.not_yet, False)
    assert "recognised is 30% (at least 40%)" in choice.why
    assert "more steps" in choice.why


def test_the_strengths_that_are_as_good_are_said():
    choice = choose_checkpoint([_score(100, 0.8, strength=each, wobble=0.1) for each in (0.8, 1.0, 1.2)], LIMITS)
    assert choice.strengths == (0.8, 1.2)


shares = st.floats(0, 1)


@given(st.lists(st.tuples(shares, shares, shares, shares), min_size=1, max_size=6))
def test_nothing_passes_that_has_not_learned_or_breaks_a_limit(rows: list[tuple[float, float, float, float]]):
    scores = [
        _score(step, likeness, leakage=leakage, bleeding=bleeding, artefacts=artefacts)
        for step, (likeness, leakage, bleeding, artefacts) in enumerate(rows)
    ]
    choice = choose_checkpoint(scores, LIMITS)
    chosen = scores[choice.step]
    assert choice.passes == (has_learned(chosen, LIMITS) and within_limits(chosen, LIMITS))
    assert choice.passes == any(has_learned(each, LIMITS) and within_limits(each, LIMITS) for each in scores)


def test_every_limit_of_the_recipe_is_kept_or_broken_on_its_side():
    assert {limit.knob for limit in BOUNDS} | {"min_learned"} == {field.name for field in fields(ChoiceLimits)}
    good = _score(100, 0.9)
    assert within_limits(good, LIMITS)
    for limit in BOUNDS:
        worse = limit.bound(LIMITS) + (-0.01 if limit.metric.higher_is_better else 0.01)
        spoiled = replace(good, estimates={**good.estimates, limit.metric.name: _steady(worse)})
        assert not within_limits(spoiled, LIMITS), limit.knob


def test_a_choice_and_a_refusal_name_the_limits_with_their_numbers():
    why = choose_checkpoint([_score(100, 0.9)], LIMITS).why
    assert "recognised at or above 40% of the images, leakage at or below 25%, prompt following at or above" in why
    assert "above 85% of the base, class bleeding at or below" in why
    why = choose_checkpoint([_score(100, 0.9, leakage=0.3, adherence=0.5)], LIMITS).why
    assert "leakage is 30% (at most 25%) and prompt following is 50% (at least 85%)" in why
