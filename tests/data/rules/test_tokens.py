"""Tokens are counted by the base's own tokenizers, and what is not heard is quoted to the word."""

import pytest

from flux_lora.config.choices import Severity
from flux_lora.data.rules.tokens import CaptionTokenizers, count_tokens, judge_tokens, token_pieces
from tests.data.rules.captioned import PROSE, samples, seen

COUNTED = " ".join(f"word{number}" for number in range(10, 100))
PLAIN = "a red mug on a wooden table in the warm evening light "


def test_good_captions_are_heard_whole(flux_readers):
    assert seen(judge_tokens(samples(*PROSE), flux_readers)) == []


def test_counts_are_those_of_the_encoders(mini_readers):
    count = count_tokens("a zubo mug", mini_readers)
    assert count.t5 == len(mini_readers.t5_tokenizer("a zubo mug").input_ids)
    assert count.clip == len(mini_readers.clip_tokenizer("a zubo mug").input_ids)
    assert (count.lost_t5, count.lost_clip) == ("", "")


def test_an_empty_caption_has_only_its_marks(flux_readers):
    count = count_tokens("", flux_readers)
    assert (count.t5, count.clip) == (1, 2)


@pytest.mark.parametrize("words", [75, 76])
def test_clip_hears_seventy_five_words_between_its_marks(flux_readers, words):
    caption = " ".join(["mug"] * words)
    assert count_tokens(caption, flux_readers).clip == words + 2
    assert count_tokens(caption, flux_readers).lost_clip == ("" if words == 75 else "mug")


def test_what_clip_misses_is_said_and_stops_nothing(flux_readers):
    (finding,) = judge_tokens(samples(PLAIN * 7 + "and a purple umbrella at the very end"), flux_readers)
    assert (finding.rule, finding.severity) == ("cut-by-clip", Severity.note)
    assert "77" in finding.problem and "purple umbrella at the very end" in finding.problem


def test_what_t5_misses_stops_training_and_is_quoted(flux_readers):
    findings = list(judge_tokens(samples(PLAIN * 60 + "and a purple umbrella"), flux_readers))
    assert seen(findings) == [("00.png", "cut-by-t5"), ("00.png", "cut-by-clip")]
    assert findings[0].severity is Severity.error and "512" in findings[0].problem


@pytest.mark.parametrize("limit", range(3, 30))
def test_a_word_that_is_cut_through_counts_as_lost(flux_readers, limit):
    short = CaptionTokenizers(flux_readers.t5_tokenizer, flux_readers.clip_tokenizer, limit)
    lost = count_tokens(COUNTED, short).lost_t5
    heard = COUNTED.removesuffix(lost).strip()
    assert lost.split() == COUNTED.split()[len(heard.split()) :]
    assert len(flux_readers.t5_tokenizer(heard).input_ids) <= limit
    one_more = " ".join(COUNTED.split()[: len(heard.split()) + 1])
    assert len(flux_readers.t5_tokenizer(one_more).input_ids) > limit


def test_the_limit_is_the_bases(mini_readers):
    caption = "a zubo mug on a wooden table, seen from the left, with a plain gray wall and a qzx behind it"
    assert seen(judge_tokens(samples(caption), mini_readers)) == [("00.png", "cut-by-t5")]


@pytest.mark.parametrize("sign", ["猫", "ñ", "ë", "{", "~", "ø", "😀"])
def test_signs_that_t5_has_no_token_for_are_named(sign, flux_readers):
    (finding,) = judge_tokens(samples(f"a zubo mug with a {sign} on it"), flux_readers)
    assert finding.rule == "unreadable-letters" and sign in finding.problem


def test_the_accents_and_quotes_that_t5_has_are_read(flux_readers):
    assert seen(judge_tokens(samples("a café called “Chloé’s” – über & over: 20 € a cup…"), flux_readers)) == []


def test_a_base_that_spells_what_it_does_not_know_reads_everything(mini_readers):
    assert seen(judge_tokens(samples("a 猫 mug"), mini_readers)) == []


def test_pieces_leave_out_the_blank_before_a_word(flux_readers):
    assert token_pieces("ohwx", flux_readers.t5_tokenizer) == ["o", "h", "w", "x"]
    assert token_pieces("ohwx", flux_readers.clip_tokenizer) == ["ohwx"]
