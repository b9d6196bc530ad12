"""A photo whose loss stands out is found, and no other."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from flux_lora.runs.hardest import hardest, mean_losses


def run_of(levels: list[float], epochs: int = 40, noise: float = 0.3) -> list[dict[str, object]]:
    """Lines of metrics.jsonl, one image a step, its loss about its level."""
    random = Random(7)
    return [
        {"samples": [number], "sample_losses": [level * random.uniform(1 - noise, 1 + noise)]}
        for _ in range(epochs)
        for number, level in enumerate(levels)
    ]


def test_the_one_whose_loss_is_half_as_high_again_is_found():
    ((sample, times),) = hardest(mean_losses(run_of([0.3] * 9 + [0.45] + [0.3] * 6)))
    assert sample == 9 and times > 1.3


@given(st.lists(st.floats(0.27, 0.33), min_size=8, max_size=30))
def test_photos_that_differ_by_a_little_are_not_accused(levels: list[float]):
    assert hardest(mean_losses(run_of(levels))) == []


def test_only_the_second_half_of_a_run_counts():
    first, second = run_of([0.3] * 9 + [2.0]), run_of([0.3] * 10)
    assert hardest(mean_losses([*first, *second])) == []


def test_little_is_not_judged():
    assert hardest(mean_losses(run_of([0.3] * 9 + [2.0], epochs=4))) == []
    assert hardest(mean_losses(run_of([0.3] * 6 + [2.0]))) == []
    assert mean_losses([{"step": 1, "loss": 0.3}]) == {}, "lines of an earlier version"
