"""A file is whole or not there."""

from pathlib import Path

import pytest

from flux_lora.atomic import HALF_WRITTEN, replacing, write_bytes, write_text


def test_an_exception_in_the_middle_leaves_the_old_file_as_it_was(tmp_path: Path):
    file = tmp_path / "a.bin"
    file.write_bytes(b"old")
    with pytest.raises(KeyError), replacing(file) as opened:
        opened.write(b"half of the n")
        raise KeyError
    assert file.read_bytes() == b"old"
    write_bytes(b"new", file)
    assert [each.name for each in tmp_path.iterdir()] == ["a.bin"] and file.read_bytes() == b"new"


def test_an_exception_in_the_middle_makes_no_file_where_there_was_none(tmp_path: Path):
    with pytest.raises(KeyError), replacing(tmp_path / "a.bin") as opened:
        opened.write(b"half of the n")
        raise KeyError
    assert not (tmp_path / "a.bin").exists()


def test_what_is_written_is_there_whole_and_nothing_beside_it(tmp_path: Path):
    content = bytes(range(256)) * 10_000
    write_bytes(content, tmp_path / "a.bin")
    write_text("z\u00fcg\n", tmp_path / "a.txt")
    assert (tmp_path / "a.bin").read_bytes() == content
    assert (tmp_path / "a.txt").read_bytes() == "z\u00fcg\n".encode()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.bin", "a.txt"]


def test_until_it_is_whole_the_new_file_lies_beside_the_old(tmp_path: Path):
    file = tmp_path / "a.bin"
    file.write_bytes(b"old")
    with replacing(file) as opened:
        opened.write(b"new")
        assert file.read_bytes() == b"old" and (tmp_path / f"a.bin{HALF_WRITTEN}").is_file()
    assert file.read_bytes() == b"new"


def test_another_name_for_the_file_beside_it_may_be_given(tmp_path: Path):
    with replacing(tmp_path / "a.bin", half_written=tmp_path / "b") as opened:
        opened.write(b"new")
        assert (tmp_path / "b").is_file()
    assert [each.name for each in tmp_path.iterdir()] == ["a.bin"]


def test_the_folder_of_a_file_is_made(tmp_path: Path):
    write_text("x", tmp_path / "some" / "where" / "a.txt")
    assert (tmp_path / "some" / "where" / "a.txt").read_text() == "x"
