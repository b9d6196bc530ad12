"""A mask that would train something else than was marked is found; a mask as people draw them is left alone."""

import pytest
from PIL import Image

from flux_lora.data.checks.masks import judge_masks
from flux_lora.data.samples import Sample
from flux_lora.data.scan import ScanOptions, scan
from tests.data.drawn_masks import RIGHT, WRONG, photo


def found(mask: Image.Image, tmp_path) -> list[str]:
    image, place = tmp_path / "a.png", tmp_path / "a_mask.png"
    photo().save(image)
    mask.save(place)
    scanned = scan(Sample(image, "a bowl", mask=place), ScanOptions())
    assert scanned.findings == () and any("of the image counts" in note for note in scanned.notes)
    return [each.rule for each in judge_masks([scanned])]


@pytest.mark.parametrize("rule", WRONG)
def test_a_mask_that_marks_something_else_is_named(rule: str, tmp_path):
    assert found(WRONG[rule], tmp_path) == [rule]


@pytest.mark.parametrize("kind", RIGHT)
def test_a_mask_as_people_draw_them_is_left_alone(kind: str, tmp_path):
    assert found(RIGHT[kind], tmp_path) == []
