"""Whole words are found, in the case that counts."""

from pathlib import Path

import pytest

from flux_lora.config.choices import SourceRole
from flux_lora.data.checks.subject_words import (
    FRAME_WORDS,
    SMALL_WORDS,
    common_folder,
    common_words,
    contains_class_word,
    contains_word,
    words_of,
)
from flux_lora.data.samples import Sample


@pytest.mark.parametrize(
    ("word", "caption", "said"),
    [("TOK", "a TOK mug", True), ("TOK", "a tok mug", False), ("TOK", "TOKYO", False), ("", "a mug", False)],
)
def test_a_word_is_said_whole_and_in_its_case(word, caption, said):
    assert contains_word(word, caption) is said


def test_case_can_be_left_aside():
    assert contains_word("TOK", "a tok mug", any_case=True)


@pytest.mark.parametrize(("caption", "said"), [("a Mug", True), ("two mugs", True), ("a smug cat", False)])
def test_a_class_is_said_in_any_case_and_number(caption, said):
    assert contains_class_word("coffee mug", caption) is said


def test_hyphens_and_apostrophes_stay_inside_words():
    assert words_of("a well-lit mug’s rim, isn't it?") == ["a", "well-lit", "mug’s", "rim", "isn't", "it"]


def test_what_is_said_of_the_set_is_said_of_the_folder_that_holds_it():
    made = [Sample(image=Path(each), caption="", role=SourceRole.subject) for each in ("a/b/1.png", "a/c/2.png")]
    assert common_folder(made) == Path("a")
    assert common_folder(made[:1]) == Path("a/b")


def test_one_source_named_from_here_and_one_from_the_root_are_one_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = [Sample(image=file, caption="", role=SourceRole.subject) for file in (Path("a/1.png"), tmp_path / "b/2.png")]
    assert common_folder(made) == tmp_path


def test_the_lists_hold_words_and_no_remarks():
    assert {"mug", "colour", "background"} <= common_words()
    assert {"the", "of"} <= SMALL_WORDS and "photo" in FRAME_WORDS
    assert all(word == word.lower() and "#" not in word for word in common_words() | SMALL_WORDS | FRAME_WORDS)
