"""What the encoder sees of an image, and how much each place of it counts."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flux_lora.config.choices import AlphaPolicy, MaskMode
from flux_lora.data.bucketing.buckets import Bucket
from flux_lora.data.bucketing.plan import Prepared
from flux_lora.data.cache import encode_all
from flux_lora.data.cache.preprocess import preprocess
from flux_lora.data.images.decode import upright_size
from flux_lora.data.samples import Box, Sample
from flux_lora.errors import DataError
from flux_lora.models.flux1.layers import PIXELS_PER_LATENT as STRIDE
from tests.data.colours import MeanColours, grow_old
from tests.data.drawn_images import gradient

AUTO, OFF = MaskMode.auto, MaskMode.off


def prepared(image: Path, *, mask: Path | None = None, box: Box | None = None) -> Prepared:
    """Into 64x32, from a 128x64 image unless another box is given."""
    sample = Sample(image=image, caption="a mug", mask=mask)
    where = box or Box(0, 0, 128, 64)
    return Prepared(
        sample=sample,
        bucket=Bucket(64, 32),
        scale=64 / where.width,
        cropped=0.0,
        box=where,
        size=upright_size(image),
        resolution=48,
    )


def saved(image: Image.Image, file: Path) -> Path:
    image.save(file)
    grow_old(file)
    return file


def half_white(width: int = 128, height: int = 64) -> Image.Image:
    """Black, and white from the middle to the right."""
    mask = Image.new("L", (width, height))
    mask.paste(255, (width // 2, 0, width, height))
    return mask


@pytest.fixture
def photo(tmp_path) -> Path:
    return saved(gradient(128, 64), tmp_path / "mug.png")


def test_an_image_is_cut_to_its_box_and_its_bucket(photo):
    right = preprocess(prepared(photo, box=Box(64, 16, 128, 48)), AlphaPolicy.composite, AUTO, STRIDE)
    assert right.image.size == (64, 32) and right.weights is None
    expected = gradient(128, 64).crop((64, 16, 128, 48))
    assert np.abs(np.asarray(right.image, int) - np.asarray(expected, int)).max() <= 1


def test_a_mask_is_the_mean_over_the_pixels_of_each_latent(photo, tmp_path):
    mask = half_white()
    mask.paste(255, (0, 0, 8, 16))  # half of the first latent's 16 x 16 pixels
    one = prepared(photo, mask=saved(mask, tmp_path / "mug.mask.png"))
    weights = preprocess(one, AlphaPolicy.composite, AUTO, STRIDE).weights
    assert weights is not None and weights.shape == (4, 8) and weights.dtype == np.float32
    assert weights[:, 4:].tolist() == [[1.0] * 4] * 4
    assert weights[0, 0] == pytest.approx(0.5) and weights[1:, :4].sum() == weights[0, 1:4].sum() == 0


def test_a_mask_of_another_size_is_cropped_as_its_image_is(photo, tmp_path):
    mask = saved(half_white(64, 32), tmp_path / "mug.mask.png")
    weights = preprocess(
        prepared(photo, mask=mask, box=Box(32, 16, 96, 48)), AlphaPolicy.composite, AUTO, STRIDE
    ).weights
    assert weights is not None and weights.tolist() == [[0.0] * 4 + [1.0] * 4] * 4


def test_a_mask_that_is_white_on_nothing_counts_where_it_is_white(photo, tmp_path):
    mask = Image.new("RGBA", (128, 64))
    mask.paste((255, 255, 255, 255), (64, 0, 128, 64))
    weights = preprocess(
        prepared(photo, mask=saved(mask, tmp_path / "m.png")), AlphaPolicy.composite, AUTO, STRIDE
    ).weights
    assert weights is not None and weights.tolist() == [[0.0] * 4 + [1.0] * 4] * 4


def test_a_mask_of_another_shape_is_refused_and_a_rounded_one_is_not(photo, tmp_path):
    with pytest.raises(DataError, match=r"m\.png is 64x64, another shape"):
        preprocess(
            prepared(photo, mask=saved(half_white(64, 64), tmp_path / "m.png")),
            AlphaPolicy.composite,
            AUTO,
            STRIDE,
        )
    rounded = saved(half_white(101, 50), tmp_path / "rounded.png")
    assert preprocess(prepared(photo, mask=rounded), AlphaPolicy.composite, AUTO, STRIDE).weights is not None


def test_a_mask_that_leaves_nothing_is_refused(photo, tmp_path):
    one = prepared(photo, mask=saved(half_white(), tmp_path / "m.png"), box=Box(0, 0, 64, 32))
    with pytest.raises(DataError, match=r"m\.png masks all"):
        preprocess(one, AlphaPolicy.composite, AUTO, STRIDE)
    assert preprocess(one, AlphaPolicy.composite, OFF, STRIDE).weights is None


def test_transparency_is_a_mask_only_where_that_is_asked_for(tmp_path):
    cutout = gradient(128, 64).convert("RGBA")
    cutout.putalpha(half_white())
    one = prepared(saved(cutout, tmp_path / "mug.png"))
    weights = preprocess(one, AlphaPolicy.mask, AUTO, STRIDE).weights
    assert weights is not None and weights.tolist() == [[0.0] * 4 + [1.0] * 4] * 4
    assert preprocess(one, AlphaPolicy.composite, AUTO, STRIDE).weights is None
    assert preprocess(one, AlphaPolicy.mask, OFF, STRIDE).weights is None
    both = replace(one, sample=replace(one.sample, mask=saved(half_white().rotate(180), tmp_path / "m.png")))
    with pytest.raises(DataError, match="masks all"):
        preprocess(both, AlphaPolicy.mask, AUTO, STRIDE)


def test_an_image_that_changes_its_size_on_the_way_is_refused(photo):
    one = prepared(photo)
    gradient(100, 64).save(photo)
    with pytest.raises(DataError, match="was changed while"):
        preprocess(one, AlphaPolicy.composite, AUTO, STRIDE)


def test_a_large_jpeg_is_cut_as_from_its_full_size(tmp_path):
    photo = saved(gradient(2048, 1024), tmp_path / "mug.jpg")
    seen = preprocess(prepared(photo, box=Box(1024, 0, 2048, 512)), AlphaPolicy.composite, AUTO, STRIDE)
    with Image.open(photo) as full:
        expected = full.resize((64, 32), Image.Resampling.LANCZOS, box=(1024, 0, 2048, 512))
    error = np.asarray(seen.image, float) - np.asarray(expected, float)
    assert 10 * np.log10(255**2 / max(1e-9, np.square(error).mean())) >= 40


def test_a_repainted_mask_is_the_only_thing_made_again(photo, tmp_path):
    mask = saved(half_white(), tmp_path / "mug.mask.png")
    one, cache = prepared(photo, mask=mask), tmp_path / "cache"
    before = encode_all([one], MeanColours().encoders(), cache).encoded[0]
    saved(half_white().rotate(180), mask)
    colours = MeanColours()
    after = encode_all([one], colours.encoders(), cache).encoded[0]
    assert colours.asked == []
    assert before.mask is not None and after.mask is not None
    assert before.mask.shape == (1, *before.latent.shape[1:])
    assert torch.equal(before.mask, 1 - after.mask)
