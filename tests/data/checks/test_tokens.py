"""Tokens are counted by the base's own tokenizers, and what is not kept is quoted to the word."""

from dataclasses import replace

import pytest

from flux_lora.config.choices import Severity
from flux_lora.data.checks.tokens import count_tokens, judge_tokens, token_pieces
from tests.data.checks.captioned import PROSE, samples, seen

COUNTED = " ".join(f"word{number}" for number in range(10, 100))
PLAIN = "a red mug on a wooden table in the warm evening light "


def test_good_captions_are_heard_whole(flux_tokenizers):
    assert seen(judge_tokens(samples(*PROSE), flux_tokenizers)) == []


def test_counts_are_those_of_the_encoders(mini_tokenizers):
    counts = count_tokens("a zubo mug", mini_tokenizers)
    assert [count.tokenizer for count in counts] == list(mini_tokenizers)
    for count in counts:
        assert count.tokens == len(count.tokenizer.tokenizer("a zubo mug").input_ids)
        assert count.lost == ""


def test_an_empty_caption_has_only_its_marks(flux_tokenizers):
    t5, clip = count_tokens("", flux_tokenizers)
    assert (t5.tokens, clip.tokens) == (1, 2)


@pytest.mark.parametrize("words", [75, 76])
def test_clip_hears_seventy_five_words_between_its_marks(flux_tokenizers, words):
    caption = " ".join(["mug"] * words)
    _, clip = count_tokens(caption, flux_tokenizers)
    assert clip.tokens == words + 2
    assert clip.lost == ("" if words == 75 else "mug")


def test_what_clip_misses_is_said_and_stops_nothing(flux_tokenizers):
    (finding,) = judge_tokens(samples(PLAIN * 7 + "and a purple umbrella at the very end"), flux_tokenizers)
    assert (finding.rule, finding.severity) == ("cut-by-clip", Severity.note)
    assert "77" in finding.problem and "purple umbrella at the very end" in finding.problem


def test_what_t5_misses_stops_training_and_is_quoted(flux_tokenizers):
    findings = list(judge_tokens(samples(PLAIN * 60 + "and a purple umbrella"), flux_tokenizers))
    assert seen(findings) == [("00.png", "cut-by-t5"), ("00.png", "cut-by-clip")]
    assert findings[0].severity is Severity.error and "512" in findings[0].problem


@pytest.mark.parametrize("limit", range(3, 30))
def test_a_word_that_is_cut_through_counts_as_lost(flux_tokenizers, limit):
    t5, _ = flux_tokenizers
    (count,) = count_tokens(COUNTED, [replace(t5, limit=limit)])
    kept = COUNTED.removesuffix(count.lost).strip()
    assert count.lost.split() == COUNTED.split()[len(kept.split()) :]
    assert len(t5.tokenizer(kept).input_ids) <= limit
    one_more = " ".join(COUNTED.split()[: len(kept.split()) + 1])
    assert len(t5.tokenizer(one_more).input_ids) > limit


def test_the_limit_is_the_bases(mini_tokenizers):
    caption = "a zubo mug on a wooden table, seen from the left, with a plain gray wall and a qzx behind it"
    assert seen(judge_tokens(samples(caption), mini_tokenizers)) == [("00.png", "cut-by-t5")]


@pytest.mark.parametrize("sign", ["猫", "ñ", "ë", "{", "~", "ø", "😀"])
def test_signs_that_t5_has_no_token_for_are_named(sign, flux_tokenizers):
    (finding,) = judge_tokens(samples(f"a zubo mug with a {sign} on it"), flux_tokenizers)
    assert finding.rule == "unreadable-letters" and sign in finding.problem


def test_the_accents_and_quotes_that_t5_has_are_read(flux_tokenizers):
    assert seen(judge_tokens(samples("a café called “Chloé’s” – über & over: 20 € a cup…"), flux_tokenizers)) == []


def test_a_base_that_spells_what_it_does_not_know_reads_everything(mini_tokenizers):
    assert seen(judge_tokens(samples("a 猫 mug"), mini_tokenizers)) == []


def test_pieces_leave_out_the_blank_before_a_word(flux_tokenizers):
    t5, clip = flux_tokenizers
    assert token_pieces("ohwx", t5.tokenizer) == ["o", "h", "w", "x"]
    assert token_pieces("ohwx", clip.tokenizer) == ["ohwx"]
