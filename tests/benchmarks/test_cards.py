"""The README's tables of cards are what the plan says today."""

import pytest

from benchmarks.cards import BASES, BEGIN, END, README, table_of

LONG = ("FLUX.1-dev", "FLUX.2 klein base 9B", "FLUX.2-dev")
"""Half a minute each and more; the others go through the same code."""


@pytest.mark.parametrize(
    "base", [pytest.param(each, marks=pytest.mark.slow) if each in LONG else each for each in BASES]
)
def test_the_readme_says_what_the_plan_says(base: str):
    told = README.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    assert table_of(base) in told, "run: python -m benchmarks.cards --write"
