"""Scores say what they claim, in a world of colours where the truth is known."""

from dataclasses import fields

import pytest

from flux_lora.errors import DataError
from flux_lora.evaluate.prompts import Suite, make_suite
from flux_lora.evaluate.scores import METRICS, Baseline, Score, SuiteImages, measure_baseline, score, sort_images
from tests.evaluate.colour_scorer import GROUNDS, ColourScorer, image

SCORER = ColourScorer()
SUITE: Suite = make_suite(
    [f"a {{trigger}} {{class}} on {ground}" for ground in GROUNDS], ["a sky in blue", "a field of green"], "zorb", "mug"
)
SEEDS = (1, 2, 3)


def _images(
    *, subject: str, thing: str = "white", other: str = "grey", grounds: tuple[str, ...] = GROUNDS
) -> SuiteImages:
    return SuiteImages(
        trigger=tuple(image(ground, subject, seed) for ground in grounds for seed in SEEDS),
        class_=tuple(image(ground, thing, seed) for ground in GROUNDS for seed in SEEDS),
        unrelated=tuple(image(ground, other, seed) for ground in ("blue", "green") for seed in SEEDS),
    )


BASE = _images(subject="white")
HELD_OUT = [image(ground, "purple", 40 + number) for number, ground in enumerate(GROUNDS)]


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    return measure_baseline(SCORER, SUITE, BASE, HELD_OUT)


def _score(baseline: Baseline, images: SuiteImages) -> Score:
    return score(SCORER, baseline, images, step=100, strength=1.0)


def test_the_base_is_zero_likeness_full_adherence_and_no_leakage(baseline: Baseline) -> None:
    found = _score(baseline, BASE)
    assert found.likeness.value == pytest.approx(0, abs=1e-5)
    assert found.adherence.value == pytest.approx(1, abs=1e-5)
    assert found.leakage.value == pytest.approx(0, abs=1e-5)
    assert baseline.doubts == ()


def test_the_subject_on_the_right_grounds_is_as_alike_as_the_held_out_images_are(baseline: Baseline) -> None:
    found = _score(baseline, _images(subject="purple"))
    assert 0.8 < found.likeness.value < 1.6
    assert found.adherence.value > 0.8
    assert found.leakage.value == pytest.approx(0, abs=1e-5)


def test_half_the_way_scores_between(baseline: Baseline) -> None:
    half = _score(baseline, _images(subject="plum")).likeness.value
    whole = _score(baseline, _images(subject="purple")).likeness.value
    assert 0.1 < half < whole


def test_a_subject_that_shows_without_its_trigger_leaks(baseline: Baseline) -> None:
    leaky = _score(baseline, _images(subject="purple", thing="purple", other="purple"))
    contained = _score(baseline, _images(subject="purple", thing="white"))
    assert leaky.leakage.value > 0.25
    assert contained.leakage.low <= contained.leakage.value < 0.05


def test_images_that_forget_their_ground_lose_adherence(baseline: Baseline) -> None:
    stuck = _score(baseline, _images(subject="purple", grounds=("red",) * 4))
    assert stuck.adherence.value < 0.3


def test_the_numbers_of_each_image_stand_by_prompt_then_seed(baseline: Baseline) -> None:
    found = _score(baseline, _images(subject="purple"))
    assert [len(row) for row in found.likeness.each] == [3] * 4
    assert [len(row) for row in found.leakage.each] == [3] * 6


def test_the_same_images_give_the_same_numbers(baseline: Baseline) -> None:
    images = _images(subject="purple")
    assert _score(baseline, images) == _score(baseline, images)


def test_one_held_out_image_is_not_enough_and_the_fix_is_named() -> None:
    with pytest.raises(DataError) as caught:
        measure_baseline(SCORER, SUITE, BASE, HELD_OUT[:1])
    assert "held_out" in caught.value.fix


def test_held_out_images_that_look_like_the_base_cast_doubt_on_likeness() -> None:
    doubtful = measure_baseline(SCORER, SUITE, BASE, list(BASE.class_))
    assert any("Likeness" in doubt for doubt in doubtful.doubts)


def test_images_are_sorted_as_the_suite_was_rendered() -> None:
    images = [image("red", "blue", seed) for seed in range(len(SUITE.prompts) * 2)]
    sorted_ = sort_images(images, SUITE)
    assert (len(sorted_.trigger), len(sorted_.class_), len(sorted_.unrelated)) == (8, 8, 4)
    assert sorted_.unrelated[0] is images[16]


def test_every_metric_has_a_field_of_the_score_and_the_other_way_round(baseline: Baseline) -> None:
    assert [field.name for field in fields(Score)] == ["step", "strength", *(metric.name for metric in METRICS)]
    found = _score(baseline, BASE)
    for metric in METRICS:
        assert found.of(metric) is getattr(found, metric.name)
        assert len(found.of(metric).each) == sum(len(getattr(SUITE, kind)) for kind in metric.prompts)
