"""Tables in the imagefolder convention say captions of images."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.config.choices import CaptionLines
from flux_lora.config.data import SourceConfig
from flux_lora.data.sources.find import find
from flux_lora.data.sources.rows import read_table
from flux_lora.data.sources.source import Columns, SourceOptions
from flux_lora.errors import DataError
from tests.data.sources.folders import image_bytes, lay_out, read, said, spoken_of, the_only, write_jsonl


def test_a_jsonl_beside_the_images_says_their_captions(tmp_path):
    lay_out(tmp_path, "a.png", "more/b.png", "c.png")
    table = write_jsonl(
        tmp_path / "metadata.jsonl",
        {"file_name": "a.png", "text": "a mug, blue"},
        {"file_name": "more/b.png", "text": "a jug"},
    )
    found = read(tmp_path)
    assert said(found) == [("a.png", "a mug, blue"), ("c.png", ""), ("b.png", "a jug")]
    assert found.samples[0].caption_file == table
    assert found.samples[1].caption_file == tmp_path / "c.txt"
    assert f"{table}: captions of 2 images" in found.remarks
    assert found.findings == ()


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_csv_is_read_as_spreadsheets_write_it(tmp_path, separator, encoding):
    lay_out(tmp_path, "a.png", "b.png")
    rows = ["file_name{0}text", 'a.png{0}"a café, blue; ""TOK""\r\non it"', "b.png{0}a jug"]
    text = "\r\n".join(rows).format(separator) + "\r\n"
    (tmp_path / "metadata.csv").write_bytes(text.encode(encoding))
    found = read(tmp_path)
    assert said(found) == [("a.png", 'a café, blue; "TOK" on it'), ("b.png", "a jug")]
    assert found.samples[0].encoding == encoding


@pytest.mark.parametrize("column", ["text", "caption", "captions"])
def test_captions_are_found_under_their_usual_names_and_a_list_is_variants(tmp_path, column):
    lay_out(tmp_path, "a.png", "b.png")
    write_jsonl(
        tmp_path / "metadata.jsonl",
        {"file_name": "a.png", column: ["a mug", "a TOK mug\non a table"]},
        {"file_name": "b.png", column: "a jug"},
    )
    assert [sample.captions for sample in read(tmp_path).samples] == [("a mug", "a TOK mug on a table"), ("a jug",)]


def test_the_columns_named_in_the_recipe_come_first(tmp_path):
    lay_out(tmp_path, "a.png")
    table = write_jsonl(tmp_path / "mine.jsonl", {"photo": "a.png", "text": "no", "words": "yes"})
    found = find([SourceConfig(path=str(table), image_column="photo", caption_column="words")], SourceOptions())
    assert said(found) == [("a.png", "yes")]


def test_a_column_that_was_named_and_is_not_there_is_an_error_and_no_other_takes_its_place(tmp_path):
    lay_out(tmp_path, "a.png", "b.png")
    rows = [{"file_name": "a.png", "text": "short", "caption_long": "long"}, {"file_name": "b.png", "text": "short"}]
    table = write_jsonl(tmp_path / "mine.jsonl", *rows)
    with pytest.raises(DataError, match="has no column 'long_caption'"):
        find([SourceConfig(path=str(table), caption_column="long_caption")], SourceOptions())
    half = find([SourceConfig(path=str(table), caption_column="caption_long")], SourceOptions())
    assert "short" not in {sample.caption for sample in half.samples}


def test_an_image_column_that_was_named_goes_before_the_usual_one(tmp_path):
    lay_out(tmp_path, "a.png", "b.png")
    table = write_jsonl(tmp_path / "mine.jsonl", {"file_name": "a.png", "photo": "b.png", "text": "a mug"})
    found = find([SourceConfig(path=str(table), image_column="photo")], SourceOptions())
    assert said(found) == [("b.png", "a mug")]


def test_two_rows_of_one_image_are_two_captions_of_it(tmp_path):
    lay_out(tmp_path, "a.png")
    rows = [{"file_name": "a.png", "text": text} for text in ("a mug", "a TOK mug", "a mug")]
    write_jsonl(tmp_path / "metadata.jsonl", *rows)
    assert read(tmp_path).samples[0].captions == ("a mug", "a TOK mug")


def test_lines_of_a_cell_are_variants_by_setting(tmp_path):
    lay_out(tmp_path, "a.png")
    write_jsonl(tmp_path / "metadata.jsonl", {"file_name": "a.png", "text": "a mug\na TOK mug"})
    found = read(tmp_path, SourceOptions(caption_lines=CaptionLines.variants))
    assert found.samples[0].captions == ("a mug", "a TOK mug")


def test_a_caption_file_beside_the_image_wins_over_the_table_and_it_is_said(tmp_path):
    lay_out(tmp_path, "a.png", "b.png", a="a mug", b="a jug")
    rows = [{"file_name": name, "text": "a jug"} for name in ("a.png", "b.png")]
    write_jsonl(tmp_path / "metadata.jsonl", *rows)
    found = read(tmp_path)
    assert said(found) == [("a.png", "a mug"), ("b.png", "a jug")]
    assert spoken_of(found) == [("a.png", "two-captions")]


def test_an_empty_caption_file_leaves_the_word_to_the_table(tmp_path):
    lay_out(tmp_path, "a.png", a="")
    write_jsonl(tmp_path / "metadata.jsonl", {"file_name": "a.png", "text": "a mug"})
    found = read(tmp_path)
    assert said(found) == [("a.png", "a mug")]
    assert found.findings == ()


def test_a_row_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path):
    lay_out(tmp_path, "a.png", "b.png")
    lines = ['{"file_name": "a.png", "text": "a mug"}', "{", "[1]", "", '{"file_name": "b.png", "text": 7}', "}"]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    found = read(tmp_path)
    assert said(found) == [("a.png", "a mug"), ("b.png", "")]
    assert [finding.problem for finding in found.findings] == [
        "line 2, line 6: is not JSON",
        "line 3 is no JSON object",
        "line 5 has something else than text in 'text'",
    ]
    assert {finding.rule for finding in found.findings} == {"unreadable-row"}
    assert all(finding.fatal for finding in found.findings)


NOT_AMONG_THEM = ["lost.png", "../outside.png", "held_out/b.png", "/etc/passwd", "a.png\0", "x" * 5000]


@pytest.mark.parametrize("name", NOT_AMONG_THEM, ids=["lost", "outside", "held_out", "root", "zero", "long"])
def test_a_row_whose_image_is_not_among_those_read_is_an_error(tmp_path, name):
    lay_out(tmp_path / "set", "a.png", "held_out/b.png", a="a mug")
    lay_out(tmp_path, "outside.png")
    write_jsonl(tmp_path / "set" / "metadata.jsonl", {"file_name": name, "text": "a mug"})
    found = read(tmp_path / "set")
    assert said(found) == [("a.png", "a mug")]
    finding = the_only(found)
    assert (finding.file.name, finding.rule, finding.fatal) == ("metadata.jsonl", "row-without-picture", True)
    assert finding.problem.isprintable()
    assert len(finding.problem) < 200


def test_a_row_may_name_its_image_as_windows_does(tmp_path):
    lay_out(tmp_path, "more/a.png")
    write_jsonl(tmp_path / "metadata.jsonl", {"file_name": "more\\a.png", "text": "a mug"})
    assert said(read(tmp_path)) == [("a.png", "a mug")]


def test_a_caption_with_a_comma_and_no_quotes_is_not_cut_in_silence(tmp_path):
    lay_out(tmp_path, "a.png", "b.png")
    (tmp_path / "metadata.csv").write_text('file_name,text\na.png,a mug, blue\nb.png,"a jug, red"\n')
    found = read(tmp_path)
    assert said(found) == [("a.png", ""), ("b.png", "a jug, red")]
    assert "needs quotes" in the_only(found).problem


def test_a_csv_without_a_column_of_names_says_so_once(tmp_path):
    lay_out(tmp_path, "a.png", a="a mug")
    (tmp_path / "metadata.csv").write_text("name,text\na.png,x\nb.png,y\n")
    assert "has no column 'file_name'" in the_only(read(tmp_path)).problem


def test_a_half_character_in_json_is_an_error_of_its_row(tmp_path):
    lay_out(tmp_path, "a.png", a="a mug")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": "\\ud83d"}')
    assert "lone surrogate" in the_only(read(tmp_path)).problem


def test_a_table_named_as_the_source_brings_its_own_images_only(tmp_path):
    lay_out(tmp_path, "a.png", "b.png", "c.png", "10_mug/d.png", "a_mask.png", a="beside")
    (tmp_path / "b.txt").write_text("b beside")
    rows = [{"file_name": "10_mug/d.png", "text": "d"}, {"file_name": "a.png", "text": "a"}, {"file_name": "b.png"}]
    found = read(write_jsonl(tmp_path / "mine.jsonl", *rows))
    assert said(found) == [("d.png", "d"), ("a.png", "a"), ("b.png", "b beside")]
    assert [sample.repeats for sample in found.samples] == [10, 1, 1]
    assert [bool(sample.mask) for sample in found.samples] == [False, True, False]
    assert spoken_of(found) == [("a.png", "two-captions")]


def test_a_table_that_names_no_image_that_is_there_is_refused(tmp_path):
    table = write_jsonl(tmp_path / "mine.jsonl", {"file_name": "a.png"})
    with pytest.raises(DataError, match="holds no image that can be read: names what is not among the images"):
        read(table)


def test_a_parquet_beside_the_images_says_their_captions(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    lay_out(tmp_path, "a.png", "b.png")
    rows = pyarrow.table(
        {"file_name": ["a.png", "b.png"], "captions": [["a mug", "a TOK mug"], ["a jug"]], "n": [1, 2]}
    )
    parquet.write_table(rows, tmp_path / "metadata.parquet")
    assert [sample.captions for sample in read(tmp_path).samples] == [("a mug", "a TOK mug"), ("a jug",)]


def test_a_parquet_that_carries_its_images_has_them_put_into_the_cache(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    held = [{"bytes": image_bytes(1), "path": "a.png"}, {"bytes": image_bytes(2, "JPEG"), "path": None}]
    parquet.write_table(pyarrow.table({"image": held, "text": ["a mug", "a jug"]}), tmp_path / "train-0.parquet")
    found = read(tmp_path / "train-*.parquet", SourceOptions(unpacked=tmp_path / "kept"))
    assert said(found) == [("a.png", "a mug"), ("picture.jpg", "a jug")]
    assert found.samples[0].image.read_bytes() == image_bytes(1)


def test_a_parquet_that_is_cut_short_says_so(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    lay_out(tmp_path, "a.png", a="a mug")
    parquet.write_table(pyarrow.table({"file_name": ["a.png"], "text": ["x"]}), tmp_path / "metadata.parquet")
    whole = (tmp_path / "metadata.parquet").read_bytes()
    (tmp_path / "metadata.parquet").write_bytes(whole[: len(whole) // 2])
    assert "cannot be read after row 0" in the_only(read(tmp_path)).problem


def test_a_parquet_without_pyarrow_names_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    lay_out(tmp_path, "a.png")
    (tmp_path / "metadata.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="pyarrow is not installed") as refusal:
        read(tmp_path)
    assert "flux_lora[datasets]" in refusal.value.fix


@pytest.mark.parametrize("ending", [".jsonl", ".csv"])
@given(content=st.binary(max_size=60) | st.text('{}[],;"\n\\a.png:', max_size=60).map(str.encode))
@settings(max_examples=60)
def test_any_bytes_are_rows_or_problems(tmp_path_factory, ending, content):
    table = tmp_path_factory.getbasetemp() / f"any{ending}"
    table.write_bytes(content)
    for row in read_table(table, Columns()):
        assert row.problem or row.name
