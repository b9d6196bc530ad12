"""One thing is spelled in one way."""

import pytest

from flux_lora.data.checks.spelling_variants import judge_spellings
from flux_lora.data.checks.subject_words import SubjectWords
from tests.data.checks.captioned import PROSE, samples, seen

ZUBO = SubjectWords("zubo", "mug", "product")


def problems(*captions: str) -> list[str]:
    return [finding.problem for finding in judge_spellings(samples(*captions), ZUBO)]


def test_good_captions_have_no_findings():
    assert seen(judge_spellings(samples(*PROSE), ZUBO)) == []


@pytest.mark.parametrize(
    ("usual", "rare"),
    [
        ("grey", "gray"),
        ("color", "colour"),
        ("close-up", "closeup"),
        ("tabletop", "table top"),
        ("label", "Label"),
        ("Zürich", "Zurich"),
        ("Acmeon", "Acmeom"),
        ("Acmeon", "ACMEON"),
    ],
)
def test_the_rarer_of_two_spellings_is_named_with_the_usual_one(usual, rare):
    captions = [f"a zubo mug with a {usual} there", f"a {usual} in it", f"and a {rare} in that", f"the {rare} too"]
    (finding,) = judge_spellings(samples(*captions, f"one {usual} more"), ZUBO)
    assert (finding.file.name, finding.rule) == ("02.png", "two-spellings")
    assert finding.problem == f"has {rare!r} in its caption where 3 others have {usual!r}"
    assert [file.name for file in finding.others] == ["03.png"]


@pytest.mark.parametrize(
    "captions",
    [
        ("Labels on a shelf.", "a mug with labels on it"),
        ("a mug. Light from the left", "soft light on a mug"),
        ("the Golden Gate Bridge behind a mug", "a golden mug at a gate, under a bridge"),
        ('a mug that says "Coffee" on it', "a cup of coffee"),
        ("a sign that says OPEN", "an open door"),
        ("the dog's bowl", "two dogs", "a dog"),
        ("a well-lit room", "the room is well lit"),
        ("a black-and-white mug", "a mug in black and white"),
        ("Zubo mug", "zubo mug", "zu-bo mug"),
        ("a bottle", "a battle", "a button", "a bottom"),
        ("Maria at a desk", "with Marie"),
        ("a Marlon and two Marlons",),
        ("it is in to the left", "put into a bag"),
    ],
)
def test_words_that_only_look_alike_are_left_alone(captions):
    assert problems(*captions) == []


def test_the_triggers_own_spellings_are_another_rules():
    assert problems("a zubo mug", "two zubos", "a Zubo mug and a ZUBO") == []


def test_two_spellings_in_one_caption_are_found():
    assert problems("a grey mug on a gray ground") == ["has 'grey' in its caption where another has 'gray'"]
