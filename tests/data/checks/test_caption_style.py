"""Captions are sentences, and hold nothing that was meant for another program."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.data.checks.caption_style import BOILERPLATE, is_keyword_list, judge_repeats, judge_style
from flux_lora.data.checks.captions import judge_characters, judge_missing_captions
from flux_lora.data.checks.language import judge_language
from flux_lora.data.checks.spelling_variants import judge_spellings
from flux_lora.data.checks.subject_words import SubjectWords
from flux_lora.data.checks.tokens import judge_tokens
from flux_lora.data.checks.trigger import judge_subject_traits, judge_trigger
from flux_lora.data.findings import Finding
from flux_lora.data.samples import Sample
from flux_lora.models.family import CaptionTokenizer
from tests.data.checks.captioned import ANY, FOLDER, PROSE, SNEAKER, WOMAN, samples, seen

TEMPLATES = Path(__file__).resolve().parents[3] / "data_templates"
ZUBO = SubjectWords("zubo", "mug", "product")


def all_that_is_said(
    judged: list[Sample], words: SubjectWords, tokenizers: Sequence[CaptionTokenizer]
) -> list[Finding]:
    """The findings of every rule on captions."""
    return [
        *judge_missing_captions(judged, words),
        *judge_trigger(judged, words, tokenizers),
        *judge_tokens(judged, tokenizers),
        *judge_style(judged, words),
        *judge_characters(judged),
        *judge_subject_traits(judged, words),
        *judge_repeats(judged, words),
        *judge_spellings(judged, words),
        *(each for each in judge_language(judged, words) if each.rule != "captions-unchecked"),
    ]


@pytest.mark.parametrize(
    ("captions", "words"),
    [
        (PROSE, ZUBO),
        (ANY, SubjectWords("")),
        (WOMAN, SubjectWords("jxv", "woman", "character")),
        (SNEAKER, SubjectWords("vrynt", "sneaker", "product")),
    ],
    ids=["mug", "anything", "woman", "sneaker"],
)
def test_no_rule_on_captions_finds_fault_with_good_ones(captions, words, flux_tokenizers):
    assert seen(all_that_is_said(samples(*captions), words, flux_tokenizers)) == []


@pytest.mark.parametrize(
    "words", [SubjectWords("zubo", "bottle", "product"), SubjectWords("mipo", "robot", "character")]
)
def test_no_rule_on_captions_finds_fault_with_the_templates(words, mini_tokenizers):
    captions = [file.read_text() for file in sorted((TEMPLATES / words.kind).glob(f"{words.trigger}*.txt"))]
    assert len(captions) == 16
    judged = samples(*(caption.strip() for caption in captions))
    assert seen(all_that_is_said(judged, words, mini_tokenizers)) == []


@given(st.lists(st.text(max_size=40), max_size=8))
@settings(max_examples=50)
def test_any_text_can_be_judged(mini_tokenizers, captions):
    all_that_is_said(samples(*captions), ZUBO, mini_tokenizers)


HOSTILE = (
    "<lora:",
    "{|",
    "«",
    "“",
    " ",
    "dark ",
    "a",
    "Aa-",
    "here is caption ",
    "(a:",
    "((",
    "&#1",
    "in ",
    "Ã",
    ". The ",
)


@pytest.mark.parametrize("piece", HOSTILE)
@pytest.mark.timeout(60)
def test_a_caption_that_goes_on_and_on_is_judged_in_time(piece, mini_tokenizers):
    caption = f"a zubo mug {piece * (20_000 // len(piece))}"
    for kind in ("product", "character", "style"):
        list(judge_subject_traits(samples(caption), SubjectWords("zubo", "mug", kind)))
    all_that_is_said(samples(caption, caption[:-1]), ZUBO, mini_tokenizers)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@given(st.lists(st.text(max_size=200), max_size=8))
@settings(max_examples=3000)
def test_any_long_text_can_be_judged(mini_tokenizers, captions):
    all_that_is_said(samples(*captions), ZUBO, mini_tokenizers)


@pytest.mark.parametrize(
    "caption",
    [
        "zubo, mug, white background, studio light, product shot, 8k",
        "masterpiece, best quality, zubo mug, sharp focus, bokeh",
        "1girl, blue_eyes, long_hair, smile",
        "zubo; mug; table; window; morning",
    ],
)
def test_keywords_between_commas_are_warned_of(caption):
    assert seen(judge_style(samples(caption), ZUBO)) == [("00.png", "keyword-list")]


@pytest.mark.parametrize(
    "caption",
    [
        "A wooden table with bread, cheese, grapes, olives, and wine.",
        "a zubo mug on a table, in soft light, with a spoon, a saucer, and a book",
        "a photo of a small zubo mug on the left, on a wooden table, rose wall",
        "a zubo mug, white background, studio light",
        "a mug by the maker my_name, on a table, from the left",
    ],
)
def test_a_sentence_with_commas_is_no_keyword_list(caption):
    assert not is_keyword_list(caption)


def test_boiler_plate_is_quoted_with_what_to_leave():
    (finding,) = judge_style(samples("The image shows a zubo mug on a table."), ZUBO)
    assert finding.rule == "boilerplate"
    assert "'The image shows'" in finding.problem and "'A zubo mug on a table.'" in finding.fix


def test_the_list_of_boiler_plate_is_there_for_the_captioner():
    assert any(pattern.search("The image shows a mug") for pattern in BOILERPLATE)


@pytest.mark.parametrize(
    ("caption", "what"),
    [
        ("a zubo mug <lora:mug:0.8> on a table", "LoRA tag"),
        ("a (zubo mug:1.2) on a table", "prompt weight"),
        ("a ((shiny)) zubo mug on a table", "prompt weight"),
        ("a [trigger] zubo mug on a table", "placeholder"),
        ("a {trigger} zubo mug on a table", "placeholder"),
        ("a {red|blue} zubo mug on a table", "choice"),
        ("a zubo mug &amp; a spoon on a table", "HTML"),
        ("a zubo mug<br/>on a table", "HTML"),
        ("a **zubo** mug on a table", "Markdown"),
    ],
)
def test_marks_for_other_programs_are_named(caption, what):
    (finding,) = judge_style(samples(caption), ZUBO)
    assert finding.rule == "markup" and what in finding.problem


@pytest.mark.parametrize(
    "caption",
    [
        "a zubo mug (the large one) at 10:30 on a table",
        "a zubo mug, salt & pepper on a table",
        "a zubo mug with <3 on it, on a table",
        "a zubo mug with #1 on it, and a sign [closed] behind",
    ],
)
def test_brackets_and_signs_in_prose_are_no_marks(caption):
    assert seen(judge_style(samples(caption), ZUBO)) == []


def test_a_placeholder_is_answered_with_the_word_that_belongs_there():
    (finding,) = judge_style(samples("a [trigger] mug on a table"), ZUBO)
    assert finding.fix == "write 'zubo' for it in 00.txt"


def test_a_rule_speaks_once_of_a_sample_however_many_variants_it_has():
    shows = "The image shows a zubo mug on a table."
    sample = Sample(image=FOLDER / "00.png", caption=shows, variants=(shows, shows))
    assert seen(judge_style([sample], ZUBO)) == [("00.png", "boilerplate")]
