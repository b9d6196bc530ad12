"""The README's table of cards is what the plan says today."""

from benchmarks.cards import README, table, with_table


def test_the_readme_says_what_the_plan_says():
    page = README.read_text(encoding="utf-8")
    assert with_table(page, table()) == page, "run: python -m benchmarks.cards --write"
