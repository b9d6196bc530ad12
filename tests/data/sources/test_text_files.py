"""Text is told apart from other bytes, whatever editor wrote it."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flux_lora.config.choices import CaptionLines
from flux_lora.data.sources.text_files import captions_of, decode_text, read_text_file

WESTERN = "a TOK café, 12 € on a “marble” table"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_western_text_is_read_and_its_encoding_said(encoding):
    told = decode_text(WESTERN.encode(encoding))
    assert (told.text, told.encoding) == (WESTERN, encoding)


def test_a_big_endian_byte_order_mark_is_read():
    told = decode_text("\ufeffa mug".encode("utf-16-be"))
    assert (told.text, told.encoding) == ("a mug", "utf-16")


@pytest.mark.parametrize("text", ["一个 TOK 杯子", "кружка TOK на столе", "a mug 👩‍🍳"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le"])
def test_text_of_other_scripts_is_read(text, encoding):
    assert decode_text(text.encode(encoding)).text == text


@pytest.mark.parametrize(
    "content",
    [
        "кружка TOK на столе".encode("cp1251"),  # read as cp1252 it would be a row of accented letters
        "一个杯子".encode("gb18030"),
        "a mug".encode("utf-32"),
        b"a mug\x81",  # no character in cp1252
        b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01",  # a JPEG that was given a caption's name
        b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00",  # a .docx
        b"\xff\xfea\x00b",  # utf-16 cut in the middle of a letter
        b"\xef\xbb\xbfcaf\xe9",  # a mark that says utf-8, and text that is not
    ],
)
def test_what_is_no_text_in_a_known_encoding_is_said_to_be_none(content):
    told = decode_text(content)
    assert told.undecodable
    assert (told.text, told.encoding) == ("", "")


def test_accents_next_to_each_other_are_still_western():
    assert decode_text("créée à l’été…".encode("cp1252")).encoding == "cp1252"


def test_an_empty_file_is_empty_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"")
    told = read_text_file(tmp_path / "a.txt")
    assert (told.text, told.encoding, told.undecodable) == ("", "utf-8", False)


def test_a_file_that_is_not_there_is_undecodable_and_says_why(tmp_path):
    assert "cannot be opened" in read_text_file(tmp_path / "a.txt").problem


def test_a_file_too_long_for_a_caption_is_not_read_whole(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"a" * 11)
    assert read_text_file(tmp_path / "a.txt", most_bytes=11).text == "a" * 11
    assert "KiB" in read_text_file(tmp_path / "a.txt", most_bytes=10).problem


def test_all_lines_are_one_caption_and_nothing_inside_a_line_changes():
    """G24: others read line one only. G11: others split at commas and join them with another blank."""
    text = "  a TOK mug,a plate , and\ttea,  \r\n\r\n on a table\r"
    assert captions_of(text, CaptionLines.joined) == ("a TOK mug,a plate , and\ttea, on a table",)


def test_each_line_is_a_caption_by_setting():
    assert captions_of("a mug\n\n a TOK mug \n", CaptionLines.variants) == ("a mug", "a TOK mug")


@pytest.mark.parametrize("lines", list(CaptionLines))
def test_a_text_of_blanks_holds_no_caption(lines):
    assert captions_of(" \r\n\t\n", lines) == ()


@given(st.binary(max_size=60))
@settings(max_examples=100)
@example(b"\xff\xfe\x00\xd8")
@example(b"\x00")
def test_any_bytes_are_text_or_said_not_to_be(content):
    told = decode_text(content)
    assert told.undecodable == (told.encoding == "")
    told.text.encode()  # no half characters, which a report could not print
    assert "\0" not in told.text


@pytest.mark.slow
@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: text.encode("utf-16", "surrogatepass")))
@settings(max_examples=20_000)
def test_any_bytes_are_text_or_said_not_to_be_at_length(content):
    told = decode_text(content)
    assert told.undecodable == (told.encoding == "")
    told.text.encode()
    assert "\0" not in told.text


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60))
@settings(max_examples=100)
def test_utf_8_comes_back_as_it_was_written(text):
    assert decode_text(text.encode()).text == text.removeprefix("\ufeff")


@given(st.text(max_size=80), st.sampled_from(CaptionLines))
@settings(max_examples=100)
def test_captions_lose_nothing_but_line_ends_and_the_blanks_around_them(text, lines):
    assert "".join("".join(captions_of(text, lines)).split()) == "".join(text.split())
