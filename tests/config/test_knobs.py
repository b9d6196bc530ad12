"""Knobs are listed with reasons, and typos find the knob that was meant."""

import pytest

from flux_lora.config.knobs import all_knobs, nearest, nearest_key, sections

GROUPS = ("hardware", "model", "recipe", "tracker")


@pytest.mark.parametrize("knob", all_knobs(), ids=lambda knob: knob.key)
def test_a_knob_says_why(knob):
    assert len(knob.reason) > 20
    assert knob.reason.endswith(".")


def test_every_section_is_listed_once():
    assert sections() == (
        "run", "model", "data", "adapter", "train", "preview", "check", "captioner", "evaluate", "export", "hardware",
        "tracker",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("adapter.rnk", "adapter.rank"),
        ("rank", "adapter.rank"),
        ("lora.rank", "adapter.rank"),
        ("trian.steps", "train.steps"),
        ("evaluate.step", "evaluate.steps"),
        ("recpe", "recipe"),
        ("hardware.devise", "hardware.device"),
        ("xyzzy", ""),
    ],
)
def test_a_typo_finds_the_key_that_was_meant(typed: str, meant: str):
    assert nearest_key(typed, also=GROUPS) == meant


def test_nothing_is_suggested_among_nothing():
    assert nearest("anything", ()) == ""


def test_the_default_is_written_as_it_would_be_typed():
    defaults = {knob.key: knob.default for knob in all_knobs()}
    assert defaults["strict"] == "false"
    assert defaults["adapter.targets"] == "attention_mlp"
    assert defaults["evaluate.strengths"] == "[1.0]"
    assert defaults["data.folder"] == "???"
