"""A prompts file becomes a suite, or a message that names the line."""

from pathlib import Path

import pytest

from flux_lora.config.choices import SubjectKind
from flux_lora.errors import ConfigError, DataError
from flux_lora.evaluate.prompts import Suite, described_prompts, make_suite, read_prompts, standard_prompts

GOOD = """\ufeff# evaluation prompts
[trigger]
a {trigger} {class} on a wooden table
a photo of a {trigger} {class}, small

[unrelated]
a red ball
a green hill
"""


def _read(tmp_path: Path, text: str) -> object:
    file = tmp_path / "prompts.txt"
    file.write_text(text, encoding="utf-8")
    return read_prompts(file, "zorb", "mug")


def test_class_prompts_are_the_trigger_prompts_without_the_trigger(tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text(GOOD, encoding="utf-8")
    suite = read_prompts(file, "zorb", "mug")
    assert suite.trigger == ("a zorb mug on a wooden table", "a photo of a zorb mug, small")
    assert suite.class_ == ("a mug on a wooden table", "a photo of a mug, small")
    assert suite.unrelated == ("a red ball", "a green hill")
    assert suite.prompts == suite.trigger + suite.class_ + suite.unrelated


@pytest.mark.parametrize(
    ("scene", "class_word", "expected"),
    [
        ("a {trigger} {class} here", "apple", "an apple here"),
        ("A {trigger} old {class}", "mug", "An old mug"),
        ("an {trigger} {class}", "dog", "a dog"),
        ("a {trigger} {class}", "unicorn", "a unicorn"),
        ("{trigger} in the rain", "dog", "dog in the rain"),
        ("the {class} {trigger}, running", "dog", "the dog, running"),
    ],
)
def test_a_prompt_stays_english_when_the_trigger_goes(scene: str, class_word: str, expected: str) -> None:
    assert make_suite([scene], [], "zorb", class_word).class_ == (expected,)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD + "[clas]\n", ":9 opens a section [clas]"),
        ("a ball\n" + GOOD, ":1 has a prompt before any section"),
        (GOOD.replace("{class} on", "{kind} on"), "the placeholder {kind}"),
        (GOOD.replace("a {trigger} {class} on", "a {class} on"), "has no {trigger}"),
        (GOOD.replace("a red ball", "a {trigger}"), "says {trigger}"),
        (GOOD.replace("a red ball\n", ""), "1 prompt(s) under [unrelated]"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(DataError) as caught:
        _read(tmp_path, text)
    assert problem in caught.value.problem


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"prompts\.txt does not exist"):
        read_prompts(tmp_path / "prompts.txt", "zorb", "mug")


@pytest.mark.parametrize("kind", SubjectKind)
def test_a_folder_without_prompts_gets_standard_ones_of_its_kind(kind: SubjectKind) -> None:
    suite = standard_prompts(kind, "ada", "woman")
    assert len(suite.trigger) >= 6 and len(suite.unrelated) >= 4 and len(suite.kept) >= 8
    assert all("ada woman" in prompt for prompt in suite.trigger)
    assert not any("ada" in prompt.split() for prompt in suite.class_ + suite.unrelated)


@pytest.mark.parametrize(
    ("description", "prompt", "said"),
    [
        ("a red mug with a white band", "a zorb mug on a table", "a red mug with a white band on a table"),
        ("orange cup", "a photo of a zorb mug, at night", "a photo of an orange cup, at night"),
        ("The old mug", "Zorb mug in the grass", "old mug in the grass"),
        (r"a mug \1", "two zorb  mug prints", r"two mug \1 prints"),
    ],
)
def test_a_description_takes_the_place_of_the_subject(description: str, prompt: str, said: str):
    suite = Suite((prompt,), ("a mug",), ("a house",))
    assert described_prompts(suite, "zorb", "mug", description) == (said,)


def test_a_prompt_that_the_description_has_no_place_in_is_named():
    suite = Suite(("a zorb mug", "a zorb, the mug, on a table"), ("a mug", "a mug"), ("a house",))
    assert described_prompts(suite, "zorb", "mug", "") == ()
    with pytest.raises(ConfigError, match="'a zorb, the mug, on a table'"):
        described_prompts(suite, "zorb", "mug", "a red mug")


def test_two_equal_prompts_are_one(tmp_path: Path):
    file = tmp_path / "prompts.txt"
    file.write_text("[trigger]\na {trigger} {class}\na {trigger} {class}\n[unrelated]\na house\na ball\n")
    with pytest.raises(DataError, match=r"1 prompt\(s\) under \[trigger\]"):
        read_prompts(file, "zorb", "mug")


def test_without_a_kept_section_the_standard_one_takes_its_place_and_nothing_that_is_scored(tmp_path: Path):
    """It once was all that stood behind a comment on that section: headers, comments and scored prompts."""
    standard = standard_prompts(SubjectKind.product, "zorb", "mug")
    file = tmp_path / "prompts.txt"
    scored = standard.kept[0]
    file.write_text(
        f"[trigger]\na {{trigger}} {{class}}\na {{trigger}} {{class}}, small\n[unrelated]\n{scored}\na ball\n"
    )
    kept = read_prompts(file, "zorb", "mug").kept
    assert kept == standard.kept[1:] and len(kept) >= 6
    assert not [prompt for prompt in kept if prompt.startswith(("[", "#"))]
    assert not set(standard.kept) & set(standard.prompts)
