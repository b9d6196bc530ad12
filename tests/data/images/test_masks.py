"""One reading of a mask for the loss, the crop and the page."""

from dataclasses import replace
from pathlib import Path

from PIL import Image

from flux_lora.data.bucketing.crops import masked_part
from flux_lora.data.images.masks import has_shape_of, read_mask
from tests.data.drawn_images import gradient, write_sample


def half_clear(file: Path) -> Path:
    """White all over, and transparent in its left half."""
    mask = Image.new("RGBA", (64, 64), (255, 255, 255, 0))
    mask.paste((255, 255, 255, 255), (32, 0, 64, 64))
    mask.save(file)
    return file


def test_what_is_transparent_in_a_mask_counts_for_nothing_and_is_not_kept_by_a_crop(tmp_path: Path):
    file = half_clear(tmp_path / "a.mask.png")
    assert read_mask(file).getbbox() == (32, 0, 64, 64)
    kept = masked_part(replace(write_sample(tmp_path, "a.png", "a mug", gradient(128, 128)), mask=file))
    assert kept is not None and (kept.left, kept.right) == (64, 128)


def test_a_mask_may_be_smaller_but_not_of_another_shape():
    assert has_shape_of(Image.new("L", (50, 33)), (300, 200))
    assert not has_shape_of(Image.new("L", (50, 50)), (300, 200))
