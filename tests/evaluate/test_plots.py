"""Plots fit their box and tell the trend."""

import random

import pytest

from flux_lora.evaluate.choice import Choice, ChoiceLimits
from flux_lora.evaluate.estimate import Estimate
from flux_lora.evaluate.plots import draw_loss, draw_scores, draw_tradeoff, smoothed
from flux_lora.evaluate.scores import METRICS, Score


def test_every_point_lies_in_the_box_and_the_line_spans_it() -> None:
    noise = random.Random(0)
    drawing = draw_loss([(step, 1 / step + noise.random()) for step in range(1, 2001)])
    points = [tuple(map(float, pair.split(","))) for pair in drawing.raw.split()]
    assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in points)
    assert (points[0][0], points[-1][0]) == (0, 100)
    assert len(points) <= 402
    assert [tick.label for tick in drawing.steps] == ["500", "1,000", "1,500", "2,000"]


def test_one_wild_step_does_not_flatten_the_rest() -> None:
    drawing = draw_loss([(step, 50.0 if step == 500 else 1 - step / 2000) for step in range(1, 1001)])
    levels = [float(tick.label) for tick in drawing.losses]
    assert max(levels) < 5


def test_a_flat_line_and_a_short_run_can_be_drawn() -> None:
    assert draw_loss([(1, 0.5), (2, 0.5)]).last == 0.5


def test_the_smoothed_line_of_a_straight_fall_is_that_fall() -> None:
    losses = [1 - step / 100 for step in range(100)]
    assert smoothed(losses)[10:-10] == pytest.approx(losses[10:-10])


def score_of(step: int, likeness: float, leakage: float, strength: float = 1.0) -> Score:
    found = {metric.name: Estimate(0.1, 0.05, 0.15) for metric in METRICS}
    found |= {"likeness": Estimate(likeness, likeness - 0.1, likeness + 0.1), "leakage": Estimate(leakage, 0.0, 1.0)}
    return Score(step, strength, found)


SCORES = [score_of(100, 0.4, 0.05), score_of(200, 0.8, 0.2), score_of(300, 0.7, 0.4), score_of(200, 0.6, 0.1, 0.8)]
CHOICE = Choice(200, 1.0, "", passes=True)


def test_scores_are_drawn_over_the_steps_of_the_chosen_strength_with_interval_and_limit() -> None:
    plots = {plot.title: plot for plot in draw_scores(SCORES, CHOICE, ChoiceLimits(max_leakage=0.25))}
    likeness, leakage = plots["Likeness"], plots["Leakage"]
    assert likeness.points == ((100, 0, pytest.approx(60)), (200, 50, pytest.approx(20)), (300, 100, pytest.approx(30)))
    assert len(likeness.band.split()) == 2 * len(likeness.points)
    assert likeness.limit is None
    assert leakage.limit == pytest.approx(75)


def test_one_step_is_no_curve() -> None:
    assert draw_scores(SCORES[:1], CHOICE, ChoiceLimits()) == ()


def test_what_another_beats_in_both_is_off_the_pareto_front() -> None:
    plot = draw_tradeoff(SCORES, CHOICE)
    assert plot
    dots = {dot.label: dot for dot in plot.dots}
    assert [label for label, dot in dots.items() if dot.beaten] == ["step 300 at 1"]
    assert [label for label, dot in dots.items() if dot.chosen] == ["step 200 at 1"]
    assert all(0 <= dot.across <= 100 and 0 <= dot.down <= 100 for dot in dots.values())
    assert not dots["step 300 at 1"].labelled and dots["step 200 at 1"].labelled


def test_labels_of_the_trade_off_do_not_lie_over_each_other() -> None:
    crowded = [score_of(100 * n, 0.8 + 0.001 * n, 0.1 + 0.001 * n) for n in range(1, 6)]
    plot = draw_tradeoff([*crowded, score_of(900, 0.4, 0.01)], CHOICE)
    assert plot and sum(dot.labelled for dot in plot.dots) == 2
    assert draw_tradeoff(crowded[:1], CHOICE) is None
