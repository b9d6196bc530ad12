"""Scores say what they claim, in a world of colours where the truth is known."""

import pytest

from flux_lora.errors import DataError
from flux_lora.evaluate.prompts import Suite, make_suite
from flux_lora.evaluate.scores import Baseline, Score, SuiteImages, measure_baseline, score, sort_images
from tests.evaluate.colour_scorer import GROUNDS, ColourScorer, picture

SCORER = ColourScorer()
SUITE: Suite = make_suite(
    [f"a {{trigger}} {{class}} on {ground}" for ground in GROUNDS], ["a sky in blue", "a field of green"], "zorb", "mug"
)
SEEDS = (1, 2, 3)


def _pictures(
    *, subject: str, thing: str = "white", other: str = "grey", grounds: tuple[str, ...] = GROUNDS
) -> SuiteImages:
    return SuiteImages(
        trigger=tuple(picture(ground, subject, seed) for ground in grounds for seed in SEEDS),
        class_=tuple(picture(ground, thing, seed) for ground in GROUNDS for seed in SEEDS),
        unrelated=tuple(picture(ground, other, seed) for ground in ("blue", "green") for seed in SEEDS),
    )


BASE = _pictures(subject="white")
HELD_OUT = [picture(ground, "purple", 40 + number) for number, ground in enumerate(GROUNDS)]


@pytest.fixture(scope="module")
def yardstick() -> Baseline:
    return measure_baseline(SCORER, SUITE, BASE, HELD_OUT)


def _score(yardstick: Baseline, pictures: SuiteImages) -> Score:
    return score(SCORER, yardstick, pictures, step=100, strength=1.0)


def test_the_base_is_zero_likeness_full_adherence_and_no_leakage(yardstick: Baseline) -> None:
    found = _score(yardstick, BASE)
    assert found.likeness.value == pytest.approx(0, abs=1e-5)
    assert found.adherence.value == pytest.approx(1, abs=1e-5)
    assert found.leakage.value == pytest.approx(0, abs=1e-5)
    assert yardstick.doubts == ()


def test_the_subject_on_the_right_grounds_is_as_alike_as_the_held_out_pictures_are(yardstick: Baseline) -> None:
    found = _score(yardstick, _pictures(subject="purple"))
    assert 0.8 < found.likeness.value < 1.6
    assert found.adherence.value > 0.8
    assert found.leakage.value == pytest.approx(0, abs=1e-5)


def test_half_the_way_scores_between(yardstick: Baseline) -> None:
    half = _score(yardstick, _pictures(subject="plum")).likeness.value
    whole = _score(yardstick, _pictures(subject="purple")).likeness.value
    assert 0.1 < half < whole


def test_a_subject_that_shows_without_its_trigger_leaks(yardstick: Baseline) -> None:
    leaky = _score(yardstick, _pictures(subject="purple", thing="purple", other="purple"))
    contained = _score(yardstick, _pictures(subject="purple", thing="white"))
    assert leaky.leakage.value > 0.25
    assert contained.leakage.low <= contained.leakage.value < 0.05


def test_pictures_that_forget_their_ground_lose_adherence(yardstick: Baseline) -> None:
    stuck = _score(yardstick, _pictures(subject="purple", grounds=("red",) * 4))
    assert stuck.adherence.value < 0.3


def test_the_numbers_of_each_picture_stand_by_prompt_then_seed(yardstick: Baseline) -> None:
    found = _score(yardstick, _pictures(subject="purple"))
    assert [len(row) for row in found.likeness.each] == [3] * 4
    assert [len(row) for row in found.leakage.each] == [3] * 6


def test_the_same_pictures_give_the_same_numbers(yardstick: Baseline) -> None:
    pictures = _pictures(subject="purple")
    assert _score(yardstick, pictures) == _score(yardstick, pictures)


def test_one_held_out_picture_is_not_enough_and_the_fix_is_named() -> None:
    with pytest.raises(DataError) as caught:
        measure_baseline(SCORER, SUITE, BASE, HELD_OUT[:1])
    assert "held_out" in caught.value.fix


def test_held_out_pictures_that_look_like_the_base_cast_doubt_on_likeness() -> None:
    doubtful = measure_baseline(SCORER, SUITE, BASE, list(BASE.class_))
    assert any("Likeness" in doubt for doubt in doubtful.doubts)


def test_pictures_are_sorted_as_the_suite_was_rendered() -> None:
    images = [picture("red", "blue", seed) for seed in range(len(SUITE.prompts) * 2)]
    sorted_ = sort_images(images, SUITE)
    assert (len(sorted_.trigger), len(sorted_.class_), len(sorted_.unrelated)) == (8, 8, 4)
    assert sorted_.unrelated[0] is images[16]
