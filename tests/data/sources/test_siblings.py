"""Files find each other by folder and name, whatever their endings."""

from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flux_lora.data.sources.listing import ending_of, file_name, parent_folder, sibling_files, stem_place

NAMES = st.text("ab.\u00e9 ", min_size=1, max_size=6).filter(lambda name: not name.startswith("."))


@given(folders=st.lists(NAMES, max_size=3), name=NAMES.filter(lambda name: not name.endswith(".")))
def test_a_path_as_text_is_taken_apart_as_a_path_is(folders, name):
    path = Path("/", *folders, name)
    assert stem_place(str(path)) == str(path.parent / path.stem)
    assert (ending_of(str(path)), file_name(str(path))) == (path.suffix.lower(), path.name)
    assert Path(parent_folder(str(path)) or "/") == path.parent


@pytest.mark.parametrize("file", ["a.b/c", "c", "a.b/c.d/e"])
def test_a_dot_in_a_folder_is_no_ending(file):
    assert (stem_place(file), ending_of(file)) == (file, "")


def test_what_lies_in_the_working_folder_has_no_folder():
    assert (parent_folder("a.png"), file_name("a.png")) == ("", "a.png")


def test_files_of_a_place_come_in_the_order_that_was_asked_for_in_capitals_or_not():
    files = sibling_files(["x/a.caption", "x/a.TXT", "x/a.txt", "x/b.txt", "y/a.txt"], first=(".txt", ".caption"))
    assert files.at("x/a") == ["x/a.TXT", "x/a.txt", "x/a.caption"]
    assert files.at("y/b") == []


def test_a_name_with_its_accent_apart_finds_the_one_with_it_whole():
    apart, whole = (normalize(form, "x/Jos\u00e9 2.txt") for form in ("NFD", "NFC"))
    for file, asked in ((apart, whole), (whole, apart)):
        assert sibling_files([file], first=[".txt"]).at(stem_place(asked)) == [file]
    assert sibling_files([apart, whole]).at(stem_place(whole)) == [whole]
    assert sibling_files([apart]).at("x/Jose 2") == []
