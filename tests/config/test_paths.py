"""A path on the command line is taken as it stands, and so is what goes around captions."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.config.compose import compose_config

REST = ("recipe=product", "data.trigger=zorb", "data.class_word=mug")
LETTERS = st.characters(blacklist_categories=("Cs", "Cc"))


@pytest.mark.parametrize(
    "path", ["~/photos", "my photos (2024)", r"C:\Users\me\photos", "photos, more", "a=b", "[x]", "it's mine", "bäck\\"]
)
def test_a_path_keeps_its_characters(path: str):
    assert compose_config([*REST, f"data.folder={path}"]).data.folder == path


def test_a_path_that_is_quoted_or_refers_to_another_key_is_read_as_before():
    assert compose_config([*REST, 'data.folder="my photos"']).data.folder == "my photos"
    words = ["data.folder=photos", "export.dir=${data.folder}/out"]
    assert compose_config([*REST, *words]).export.dir == "photos/out"


@pytest.mark.parametrize("text", ["zorb mug ", " in the sun", "a photo, of ", "[V] ", "it's "])
def test_a_prefix_and_a_suffix_keep_the_blank_that_parts_them_from_the_caption(text: str):
    """Hydra drops blanks at the ends: "zorb mug " and "a mug" were once trained as "zorb muga mug"."""
    data = compose_config([*REST, "data.folder=photos", f"data.prefix={text}", f"data.suffix={text}"]).data
    assert (data.prefix, data.suffix) == (text, text)


@settings(max_examples=25, deadline=None)
@given(path=st.text(LETTERS, min_size=1, max_size=12))
def test_any_path_is_itself(path: str):
    if path[:1] in "'\"" or "${" in path:
        return
    assert compose_config([*REST, f"data.folder={path}"]).data.folder == path
