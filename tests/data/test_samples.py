"""Images and captions are found and paired."""

import pytest

from flux_lora.errors import DataError
from tests.data.drawn_images import gradient, write_sample
from tests.data.samples_of import find_samples


def test_samples_are_the_images_in_order_with_the_captions_beside_them(tmp_path):
    for name in ("b.jpg", "a.png", "c.webp"):
        write_sample(tmp_path, name, f"caption of {name}")
    assert [(sample.image.name, sample.caption) for sample in find_samples(tmp_path)] == [
        ("a.png", "caption of a.png"),
        ("b.jpg", "caption of b.jpg"),
        ("c.webp", "caption of c.webp"),
    ]


def test_an_ending_in_capitals_is_an_image_too(tmp_path):
    write_sample(tmp_path, "DSC_1.JPG", "a mug")
    assert [sample.caption for sample in find_samples(tmp_path)] == ["a mug"]


def test_held_out_images_captions_and_other_files_are_not_samples(tmp_path):
    write_sample(tmp_path, "a.png", "a mug")
    write_sample(tmp_path / "held_out", "b.png", "a mug")
    for name in ("README.md", "prompts.txt", "._a.png"):
        (tmp_path / name).write_text("not an image")
    assert [sample.image.name for sample in find_samples(tmp_path)] == ["a.png"]


def test_an_image_without_a_caption_has_an_empty_one(tmp_path):
    write_sample(tmp_path, "a.png", None)
    assert find_samples(tmp_path)[0].caption == ""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_a_caption_reads_the_same_whatever_editor_wrote_it(tmp_path, encoding):
    gradient().save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes("  a TOK café,\r\n on a table\n".encode(encoding))
    assert find_samples(tmp_path)[0].caption == "a TOK café, on a table"


def test_a_folder_without_images_says_what_to_put_in_it(tmp_path):
    with pytest.raises(DataError, match="holds no images") as refusal:
        find_samples(tmp_path)
    assert "caption" in refusal.value.fix


def test_a_folder_that_is_not_there_names_the_knob(tmp_path):
    with pytest.raises(DataError, match="is not a folder") as refusal:
        find_samples(tmp_path / "nowhere")
    assert "data.folder" in refusal.value.fix
