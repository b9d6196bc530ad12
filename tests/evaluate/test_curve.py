"""A loss curve fits its box and tells the trend."""

import random

import pytest

from flux_lora.evaluate.report import draw, smoothed


def test_every_point_lies_in_the_box_and_the_line_spans_it() -> None:
    noise = random.Random(0)
    drawing = draw([(step, 1 / step + noise.random()) for step in range(1, 2001)])
    points = [tuple(map(float, pair.split(","))) for pair in drawing.raw.split()]
    assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in points)
    assert (points[0][0], points[-1][0]) == (0, 100)
    assert len(points) <= 402
    assert [tick.label for tick in drawing.steps] == ["500", "1,000", "1,500", "2,000"]


def test_one_wild_step_does_not_flatten_the_rest() -> None:
    drawing = draw([(step, 50.0 if step == 500 else 1 - step / 2000) for step in range(1, 1001)])
    levels = [float(tick.label) for tick in drawing.losses]
    assert max(levels) < 5


def test_a_flat_line_and_a_short_run_can_be_drawn() -> None:
    assert draw([(1, 0.5), (2, 0.5)]).last == 0.5


def test_the_smoothed_line_of_a_straight_fall_is_that_fall() -> None:
    losses = [1 - step / 100 for step in range(100)]
    assert smoothed(losses)[10:-10] == pytest.approx(losses[10:-10])
