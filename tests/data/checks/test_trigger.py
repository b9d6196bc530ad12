"""The trigger is a good word, and every caption says it in one spelling."""

from pathlib import Path

import pytest

from flux_lora.config.choices import Severity, SourceRole
from flux_lora.data.checks.subject_words import SubjectWords
from flux_lora.data.checks.trigger import judge_trigger, near_misses
from tests.data.checks.captioned import FOLDER, PROSE, samples, seen

ZUBO = SubjectWords("zubo", "mug", "product")
TOK = SubjectWords("TOK")


def test_good_captions_have_no_findings():
    assert seen(judge_trigger(samples(*PROSE), ZUBO)) == []


def test_without_a_trigger_nothing_is_asked():
    assert seen(judge_trigger(samples("a mug on a table"), SubjectWords("", "mug"))) == []


def test_an_image_without_a_caption_is_another_rules():
    assert seen(judge_trigger(samples(""), ZUBO)) == []


def test_a_caption_without_the_trigger_is_named():
    (finding,) = judge_trigger(samples("a mug on a table"), ZUBO)
    assert (finding.file.name, finding.rule, finding.severity) == ("00.png", "no-trigger", Severity.error)
    assert "00.txt" in finding.fix


def test_one_variant_without_the_trigger_is_enough():
    (sample,) = samples("a zubo mug on a table")
    lacking = type(sample)(image=sample.image, caption=sample.caption, variants=("a cup on a table",))
    assert seen(judge_trigger([lacking], ZUBO)) == [("00.png", "no-trigger")]


@pytest.mark.parametrize("caption", ["a TOKYO street at night", "a mug, STOKED with tea", "a mug for TOKENS"])
def test_a_trigger_inside_another_word_does_not_count(caption):
    assert seen(judge_trigger(samples(caption), TOK)) == [("00.png", "no-trigger")]


@pytest.mark.parametrize("caption", ["TOK, on a table", "a photo of (TOK) here", "this is TOK's handle", "a mug: TOK."])
def test_a_trigger_beside_punctuation_counts(caption):
    assert seen(judge_trigger(samples(caption), TOK)) == []


def test_a_trigger_in_another_case_is_shown_as_it_was_written():
    (finding,) = judge_trigger(samples("a Tok mug on a table"), TOK)
    assert finding.rule == "no-trigger" and "only 'Tok'" in finding.problem


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("zubbo", "a letter more"),
        ("zbo", "a letter less"),
        ("zubu", "another letter"),
        ("zuob", "two letters swapped"),
        ("zu-bo", "a hyphen"),
        ("zubos", "many of it"),
        ("zubomug", "grown together with the class"),
        ("zu bo", "torn apart"),
    ],
)
def test_what_looks_like_the_trigger_is_shown_as_a_slip_of_the_pen(word, why):
    (finding,) = judge_trigger(samples(f"a {word} mug on a table"), ZUBO)
    assert (finding.rule, finding.severity) == ("trigger-misspelled", Severity.error), why
    assert repr(word) in finding.problem


@pytest.mark.parametrize(
    ("trigger", "caption"),
    [
        ("mipo", "a mop beside a bucket"),
        ("sks", "a man in a ski suit asks for socks"),
        ("TOK", "a TOKYO street, took by a cook"),
        ("zubo", "turbo engine with a hobo"),
    ],
)
def test_ordinary_words_are_no_slips_of_the_pen(trigger, caption):
    assert near_misses(SubjectWords(trigger), caption) == []


def test_the_class_word_is_no_slip_of_the_pen():
    assert near_misses(SubjectWords("robod", "robot"), "a robod robot on a table") == []


def test_a_caption_with_two_spellings_is_warned_of():
    findings = list(judge_trigger(samples("a zubo mug, and the Zubo lid beside it", PROSE[0]), ZUBO))
    assert seen(findings) == [("00.png", "trigger-spellings")]
    assert findings[0].severity is Severity.warning


def test_a_trigger_said_twice_alike_is_no_second_spelling():
    assert seen(judge_trigger(samples("a zubo mug, and zubo's lid beside it"), ZUBO)) == []


@pytest.mark.parametrize("trigger", ["rose", "mug", "robot", "Tumbler"])
def test_a_trigger_that_is_an_ordinary_word_is_warned_of_once(trigger):
    findings = list(judge_trigger(samples(f"a {trigger} on a table", f"a {trigger} on a chair"), SubjectWords(trigger)))
    assert [(finding.file, finding.rule) for finding in findings] == [(FOLDER, "trigger-ordinary-word")]


@pytest.mark.parametrize("trigger", ["zubo", "ohwx", "TOK", "mipo", "zorb", "rose zubo"])
def test_a_made_up_word_is_not_ordinary(trigger):
    assert seen(judge_trigger(samples(f"a {trigger} on a table"), SubjectWords(trigger))) == []


def test_a_trigger_with_digits_is_warned_of():
    assert seen(judge_trigger(samples("a mmx26 mug on a table"), SubjectWords("mmx26", "mug"))) == [
        ("photos", "trigger-digits")
    ]


def test_an_ordinary_image_must_not_say_the_trigger_in_any_case():
    ordinary = samples("a Zubo mug", "a mug", "a zubobo mug", role=SourceRole.regularisation)
    (finding,) = judge_trigger(ordinary, ZUBO)
    assert (finding.file.name, finding.rule) == ("00.png", "trigger-in-regularisation")
    assert finding.severity is Severity.error


def test_a_caption_without_the_class_word_is_warned_of():
    findings = list(judge_trigger(samples("a zubo on a table", "a zubo mug here", "two zubo Mugs here"), ZUBO))
    assert seen(findings) == [("00.png", "no-class-word")]
    assert "'zubo mug'" in findings[0].fix


def test_the_last_word_of_a_class_stands_for_it():
    assert seen(judge_trigger(samples("a zubo mug on a table"), SubjectWords("zubo", "coffee mug"))) == []


def test_a_style_needs_no_class_word_beside_it():
    assert seen(judge_trigger(samples("zubo, a street in the rain"), SubjectWords("zubo", "drawing", "style"))) == []


def test_a_trigger_that_is_spelled_letter_by_letter_is_warned_of(mini_tokenizers):
    long = list(judge_trigger(samples("a qzxwvkj on a table"), SubjectWords("qzxwvkj"), mini_tokenizers))
    assert [(finding.file, finding.rule) for finding in long] == [(Path("photos"), "trigger-pieces")]
    assert "q z x" in long[0].problem
    assert seen(judge_trigger(samples("a zubo on a table"), SubjectWords("zubo"), mini_tokenizers)) == []


@pytest.mark.parametrize(("trigger", "pieces"), [("ohwx", 0), ("zubo", 0), ("mipo", 0), ("qzxwvkjq", 1)])
def test_flux_reads_a_good_trigger_in_few_pieces(trigger, pieces, flux_tokenizers):
    found = seen(judge_trigger(samples(f"a {trigger} on a table"), SubjectWords(trigger), flux_tokenizers))
    assert found == [("photos", "trigger-pieces")] * pieces
