"""Masks are found, said and never learned from as images."""

from unicodedata import normalize

import pytest

from flux_lora.config.choices import MaskMode
from flux_lora.data.sources.source import SourceOptions
from flux_lora.errors import DataError
from tests.data.sources.folders import lay_out, read, said, spoken_of


def masks_of(found):
    return {sample.image.name: sample.mask and sample.mask.name for sample in found.samples}


@pytest.mark.parametrize("mask", ["a.mask.png", "a_mask.png", "a-masklabel.png", "a_MASK.webp"])
def test_a_mask_beside_its_image_is_its_mask_and_no_sample(tmp_path, mask):
    found = read(lay_out(tmp_path, "a.jpg", "b.jpg", mask))
    assert masks_of(found) == {"a.jpg": mask, "b.jpg": None}
    assert "1 of 2 images have masks; masked loss on" in found.remarks
    assert found.findings == ()


@pytest.mark.parametrize(("image", "mask"), [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_mask_is_found_however_its_accent_is_spelled(tmp_path, image, mask):
    """A Mac's disk takes accents apart, and what edits the mask may write them whole."""
    one, other = f"{normalize(image, 'tügh')}.png", f"{normalize(mask, 'tügh')}.mask.png"
    assert masks_of(read(lay_out(tmp_path, one, other))) == {one: other}


def test_a_folder_of_masks_is_one_in_any_case(tmp_path):
    found = read(lay_out(tmp_path, "a.jpg", "Masks/a.png"))
    assert masks_of(found) == {"a.jpg": "a.png"}
    assert not any("left alone" in remark for remark in found.remarks)


def test_without_masks_nothing_is_said_of_them(tmp_path):
    assert read(lay_out(tmp_path, "a.jpg")).remarks == ()


def test_a_mask_without_an_image_is_listed_and_is_no_sample(tmp_path):
    found = read(lay_out(tmp_path, "a.jpg", "b.mask.png", "c_mask.png"))
    assert masks_of(found) == {"a.jpg": None}
    assert spoken_of(found) == [("b.mask.png", "orphan-mask"), ("c_mask.png", "orphan-mask")]


def test_an_image_of_a_mask_with_a_caption_is_an_image(tmp_path):
    found = read(lay_out(tmp_path, "venetian_mask.png", venetian_mask="a TOK mask with feathers"))
    assert said(found) == [("venetian_mask.png", "a TOK mask with feathers")]
    assert found.findings == ()


def test_a_folder_of_masks_beside_the_images_is_used_at_every_level(tmp_path):
    lay_out(tmp_path, "a.jpg", "masks/a.png", "more/b.jpg", "more/masks/b.png", "deep/c.jpg", "masks/deep/c.png")
    found = read(tmp_path)
    assert masks_of(found) == {"a.jpg": "a.png", "b.jpg": "b.png", "c.jpg": "c.png"}
    assert found.findings == ()


def test_masks_in_a_folder_of_their_own_are_found_by_place_then_by_name(tmp_path):
    images = lay_out(tmp_path / "photos", "front/1.jpg", "back/1.jpg", "back/2.jpg")
    masks = lay_out(tmp_path / "cut", "front/1.png", "2.png", "1.png", "3.png")
    found = read(images, SourceOptions(mask_folder=masks))
    assert [
        (sample.image.parent.name, sample.mask and str(sample.mask.relative_to(masks))) for sample in found.samples
    ] == [
        ("back", None),
        ("back", "2.png"),
        ("front", "front/1.png"),
    ]
    assert spoken_of(found) == [("1.png", "orphan-mask"), ("3.png", "orphan-mask")]  # 1.png fits two images


def test_a_mask_folder_inside_the_images_holds_no_samples(tmp_path):
    lay_out(tmp_path, "a.jpg", "cut/a.png")
    found = read(tmp_path, SourceOptions(mask_folder=tmp_path / "cut"))
    assert [(sample.image.name, sample.mask) for sample in found.samples] == [("a.jpg", tmp_path / "cut" / "a.png")]


def test_a_mask_folder_that_is_not_there_names_the_knob(tmp_path):
    with pytest.raises(DataError, match="is not a folder") as refusal:
        read(lay_out(tmp_path, "a.jpg"), SourceOptions(mask_folder=tmp_path / "cut"))
    assert "data.mask_folder" in refusal.value.fix


def test_masks_switched_off_are_still_no_samples(tmp_path):
    found = read(lay_out(tmp_path, "a.jpg", "a.mask.png", "masks/a.png"), SourceOptions(masks=MaskMode.off))
    assert masks_of(found) == {"a.jpg": None}
    assert found.remarks == found.findings == ()
