"""Captions without their trigger read as if it had never been there."""

import pytest

from flux_lora.data.captioning.captioner import without_trigger


@pytest.mark.parametrize(
    ("caption", "plain"),
    [
        ("a photo of a zubo bottle on the left, at night", "a photo of a bottle on the left, at night"),
        ("a Zubo bottle", "a bottle"),
        ("a zubo on a table", "a bottle on a table"),
        ("zubo bottle, on grass", "bottle, on grass"),
        ("a zubo orange bottle", "an orange bottle"),
        ("an unusual zubo bottle", "an unusual bottle"),
        ("a used zubo bottle", "a used bottle"),
        ("a zubomat bottle", "a zubomat bottle"),
        ("a red ball", "a red ball"),
    ],
)  # fmt: skip
def test_the_trigger_is_taken_out(caption: str, plain: str):
    assert without_trigger(caption, "zubo", "bottle") == plain


@pytest.mark.parametrize("trigger", ["<zorb>", "[V]", "zorb*", "#zorb", "c++"])
def test_a_trigger_of_signs_is_taken_out_too(trigger: str):
    assert without_trigger(f"a photo of a {trigger} mug, at night", trigger, "mug") == "a photo of a mug, at night"
    assert without_trigger(f"{trigger} on a table", trigger, "mug") == "mug on a table"


def test_without_a_trigger_nothing_changes():
    assert without_trigger("a  bottle", "", "bottle") == "a  bottle"
