"""Broken, invisible and needless characters are found, and the letters of the world are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_lora.config.choices import Severity
from flux_lora.data.checks.captions import judge_characters, mended
from tests.data.checks.captioned import PROSE, samples, seen

FOREIGN = (
    "a café, Noël’s naïve “façade” – 20 € or £15…",
    "Ein Straßenschild über der Tür, „Grüße“",
    "CAFÉ” on a sign, and ‘CAFÉ’, «É», Â and Ã alone",
    "São Paulo, Łódź, Đà Nẵng, İstanbul, Þingvellir",
    "кружка на столе",
    "机の上のマグカップ 🐱👩‍👩‍👧",
)


def test_good_captions_have_no_findings():
    assert seen(judge_characters(samples(*PROSE))) == []


@pytest.mark.parametrize("caption", FOREIGN)
def test_letters_of_other_languages_are_not_broken(caption):
    assert seen(judge_characters(samples(caption))) == []
    assert mended(caption) == caption


@pytest.mark.parametrize("word", ["café", "Noël’s", "naïve", "20€", "Straße", "“so”", "Łódź", "кружка", "机の上"])
def test_utf8_that_was_read_as_cp1252_is_shown_with_what_it_was(word):
    for encoding in ("cp1252", "latin-1"):
        broken = "".join(bytes([byte]).decode(encoding, "ignore") or chr(byte) for byte in word.encode())
        (finding,) = judge_characters(samples(f"a {broken} on a table"))
        assert finding.rule == "mojibake" and repr(word) in finding.problem


def test_a_letter_that_was_lost_for_good_is_shown_in_its_place():
    (finding,) = judge_characters(samples("a caf\ufffd on the corner"))
    assert finding.rule == "mojibake" and "caf\ufffd on" in finding.problem


@pytest.mark.parametrize(
    ("sign", "name"),
    [("\u200b", "U+200B ZERO WIDTH SPACE"), ("\ufeff", "U+FEFF"), ("\xad", "U+00AD SOFT HYPHEN"), ("\x07", "U+0007")],
)
def test_invisible_characters_are_named(sign, name):
    (finding,) = judge_characters(samples(f"a zu{sign}bo mug"))
    assert finding.rule == "control-characters" and name in finding.problem


@pytest.mark.parametrize("caption", ["a zubo mug,  on a table", "a zubo\tmug", "a zubo\xa0mug", "a zubo mug , here"])
def test_stray_blanks_are_noted(caption):
    (finding,) = judge_characters(samples(caption))
    assert (finding.rule, finding.severity) == ("stray-blanks", Severity.note)


@pytest.mark.parametrize("caption", ["a zubo mug, on a table.", "a zubo mug ... and a lid", "a .5 litre zubo mug"])
def test_blanks_where_they_belong_are_not(caption):
    assert seen(judge_characters(samples(caption))) == []


@given(st.text(max_size=60))
def test_any_text_can_be_judged_and_mended(caption):
    list(judge_characters(samples(caption)))
    mended(caption)


@given(st.text(st.characters(min_codepoint=0xC0, max_codepoint=0xFF), min_size=1, max_size=8))
def test_a_broken_word_of_any_western_letters_is_mended(word):
    assert mended(word.encode().decode("latin-1")) == word
