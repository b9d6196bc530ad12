"""How far two words are apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_lora.data.checks.language import edit_distance, normalised

LETTERS = st.text("abcd", max_size=8)


@pytest.mark.parametrize(
    ("first", "second", "count"),
    [("zubo", "zubo", 0), ("zubo", "zubu", 1), ("zubo", "zbo", 1), ("zubo", "zuob", 1), ("zubo", "zibi", 2)],
)
def test_slips_are_counted(first, second, count):
    assert edit_distance(first, second, most=3) == count


def test_beyond_the_most_nobody_counts_on():
    assert edit_distance("zubo", "bottle", most=1) == 2


@given(LETTERS, LETTERS)
def test_both_ways_are_as_long(first, second):
    assert edit_distance(first, second, most=8) == edit_distance(second, first, most=8)


@given(LETTERS, LETTERS, st.integers(0, 3))
def test_stopping_early_changes_no_count_that_matters(first, second, most):
    assert edit_distance(first, second, most=most) == min(most + 1, edit_distance(first, second, most=8))


@pytest.mark.parametrize("word", ["Zu-Bo", "zu_bo", "zu bo", "ZÚBO", "zub'o"])
def test_spellings_of_one_word_are_bare_alike(word):
    assert normalised(word) == "zubo"
