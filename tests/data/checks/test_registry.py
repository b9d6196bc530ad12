"""Rules are found by ids that never change."""

import re

import pytest

from flux_lora.data.checks.registry import ALL_RULES, rule
from flux_lora.errors import DataError


def test_no_two_rules_have_one_id():
    assert len({each.id for each in ALL_RULES}) == len(ALL_RULES)


@pytest.mark.parametrize("each", ALL_RULES, ids=lambda each: each.id)
def test_a_rule_has_a_plain_id_and_says_why_it_matters(each):
    assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", each.id)
    assert each.about.endswith(".") and len(each.about.split()) >= 6


@pytest.mark.parametrize("id", ["no-caption", "no-trigger", "short-caption", "same-caption"])
def test_ids_that_recipes_already_name_are_kept(id):
    assert rule(id).id == id


def test_a_slip_of_the_pen_is_answered_with_the_rule_that_was_meant():
    with pytest.raises(DataError) as refusal:
        rule("no-captoin")
    assert "'no-caption'" in refusal.value.fix


def test_an_id_like_no_other_is_answered_with_where_to_look():
    with pytest.raises(DataError, match="'xyzzy'"):
        rule("xyzzy")
