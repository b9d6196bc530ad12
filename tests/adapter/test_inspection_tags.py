"""The words of captions that a kohya file notes."""

import json

import pytest

from flux_lora.adapter.inspection import commonest_tags


def test_the_tags_of_most_images_come_first_over_all_folders():
    told = {"10_mug": {"zkmug": 12, "table": 5, " ": 99}, "1_more": {"zkmug ": 4, "window": 6}}
    assert commonest_tags({"ss_tag_frequency": json.dumps(told)}) == ("zkmug", "window", "table")


@pytest.mark.parametrize(
    "told", ["", "None", "[1]", '{"a": 3}', '{"a": {"b": "c"}}', "[" * 100_000, "{", '{"a": {"b": 1e9}}']
)
def test_what_makes_no_sense_names_no_tag(told: str):
    assert commonest_tags({"ss_tag_frequency": told}) == ()
    assert commonest_tags({}) == ()
