"""Crops keep what must not be lost, and are the middle otherwise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from flux_lora.config.choices import AlphaPolicy, CropMode
from flux_lora.data.bucketing.buckets import Bucket
from flux_lora.data.bucketing.crops import (
    crop_to_bucket,
    crop_window,
    intersection,
    masked_part,
    protected_box,
    salient_part,
    scale_box,
)
from flux_lora.data.samples import Box, Sample
from tests.data.drawn_images import gradient

sides = st.integers(16, 3000)
steps = st.integers(1, 40).map(lambda count: 16 * count)
shares = st.floats(0, 1)


def subject_part(sample: Sample) -> Box | None:
    return protected_box(sample, CropMode.subject, AlphaPolicy.composite)


def spotted(width: int, height: int, box: tuple[int, int, int, int]) -> Image.Image:
    """Flat grey with a checked thing on it."""
    values = np.full((height, width, 3), 127, np.uint8)
    left, top, right, bottom = box
    rows, columns = np.mgrid[top:bottom, left:right]
    values[top:bottom, left:right] = np.where(((rows + columns) // 8 % 2)[..., None] == 0, 20, 235)
    return Image.fromarray(values)


@settings(max_examples=200, deadline=None)
@given(sides, sides, steps, steps, st.tuples(shares, shares, shares, shares), st.none() | shares)
def test_a_window_has_the_buckets_shape_lies_inside_and_keeps_what_fits(width, height, across, down, edges, at):
    left, right = sorted((edges[0] * width, edges[1] * width))
    top, bottom = sorted((edges[2] * height, edges[3] * height))
    keep = Box(left, top, right, bottom)
    box = crop_window((width, height), Bucket(across, down), keep, at)
    assert Box(0, 0, width, height).holds(box, slack=1e-6)
    assert box.width / box.height == pytest.approx(across / down, rel=1e-6)
    fits = keep.width <= box.width and keep.height <= box.height
    assert box.holds(keep, slack=1e-6) or not fits


@settings(max_examples=40, deadline=None)
@given(st.integers(64, 200), st.integers(64, 200), st.integers(1, 6), st.integers(1, 6))
def test_a_crop_from_the_middle_is_what_pillow_fits_to_half_a_pixel(width, height, across, down):
    image, bucket = gradient(width, height), Bucket(16 * across, 16 * down)
    fitted = ImageOps.fit(image, (bucket.width, bucket.height), method=Image.Resampling.LANCZOS)
    ours = crop_to_bucket(image, crop_window(image.size, bucket), bucket)
    half_a_pixel = 255 / 64 / 2
    assert np.abs(np.asarray(ours, int) - np.asarray(fitted, int)).max() <= 2 * half_a_pixel


@pytest.mark.parametrize("bucket", [Bucket(64, 64), Bucket(96, 48), Bucket(16, 80)])
def test_a_crop_is_exactly_the_bucket_and_keeps_the_middle(bucket):
    image = ImageOps.expand(Image.new("RGB", (60, 30), (255, 0, 0)), 40, (0, 0, 255))
    fitted = crop_to_bucket(image, crop_window(image.size, bucket), bucket)
    assert fitted.size == (bucket.width, bucket.height)
    assert fitted.getpixel((bucket.width // 2, bucket.height // 2)) == (255, 0, 0)


def test_a_crop_does_not_stretch():
    disc, bucket = Image.new("RGB", (200, 100), "black"), Bucket(64, 64)
    disc.paste("white", (75, 25, 125, 75))
    pixels = np.asarray(crop_to_bucket(disc, crop_window(disc.size, bucket), bucket))[..., 0] > 127
    rows, columns = np.where(pixels)
    assert np.ptp(rows) == np.ptp(columns)


def test_a_box_measured_in_the_whole_image_cuts_a_reduced_one_in_the_same_place():
    image, bucket = gradient(800, 400), Bucket(64, 64)
    box = crop_window(image.size, bucket, Box(600, 0, 790, 400))
    whole, reduced = (
        crop_to_bucket(image, box, bucket),
        crop_to_bucket(image.reduce(2), box, bucket, of=image.size),
    )
    assert np.abs(np.asarray(whole, int) - np.asarray(reduced, int)).max() <= 2


def test_a_thing_at_the_edge_is_inside_and_one_in_the_middle_moves_nothing():
    size, bucket = (300, 100), Bucket(64, 64)
    assert crop_window(size, bucket) == crop_window(size, bucket, Box(120, 10, 180, 90)) == Box(100, 0, 200, 100)
    assert crop_window(size, bucket, Box(220, 10, 290, 90)) == Box(190, 0, 290, 100)
    assert crop_window(size, bucket, Box(0, 10, 60, 90)) == Box(0, 0, 100, 100)


def test_a_thing_too_long_for_the_window_is_cut_on_both_sides_alike():
    assert crop_window((300, 100), Bucket(64, 64), Box(100, 0, 280, 100)) == Box(140, 0, 240, 100)


def test_a_window_may_be_put_anywhere_it_can_go():
    size, bucket = (300, 100), Bucket(64, 64)
    assert [crop_window(size, bucket, at=share).left for share in (0, 0.25, 1)] == [0, 50, 200]
    assert [crop_window(size, bucket, Box(150, 0, 180, 100), share).left for share in (0, 1)] == [80, 150]


@pytest.mark.parametrize("box", [(10, 20, 90, 100), (300, 10, 380, 90), (160, 15, 230, 100)])
def test_what_stands_out_is_found(box):
    found = salient_part(spotted(400, 120, box))
    assert found is not None
    middle = (found.left + found.right) / 2
    assert box[0] < middle < box[2]
    assert found.width < 1.4 * (box[2] - box[0])


def test_where_nothing_stands_out_there_is_no_subject(tmp_path):
    Image.new("RGB", (300, 100), "navy").save(tmp_path / "flat.png")
    assert subject_part(Sample(image=tmp_path / "flat.png", caption="")) is None


def test_a_mask_says_what_the_subject_is_whatever_stands_out(tmp_path):
    spotted(400, 120, (10, 20, 90, 100)).save(tmp_path / "a.png")
    mask = Image.new("L", (200, 60))
    mask.paste(255, (150, 10, 190, 50))
    mask.save(tmp_path / "a.mask.png")
    sample = Sample(image=tmp_path / "a.png", caption="", mask=tmp_path / "a.mask.png")
    assert masked_part(sample) == subject_part(sample) == Box(300, 20, 380, 100)
    assert masked_part(Sample(image=tmp_path / "a.png", caption="")) is None


def test_a_black_mask_marks_nothing(tmp_path):
    spotted(400, 120, (10, 20, 90, 100)).save(tmp_path / "a.png")
    Image.new("L", (400, 120)).save(tmp_path / "a.mask.png")
    sample = Sample(image=tmp_path / "a.png", caption="", mask=tmp_path / "a.mask.png")
    assert masked_part(sample) is None
    found = subject_part(sample)
    assert found is not None and found.right < 140


def test_a_subject_in_a_photo_held_sideways_is_found_where_people_see_it(tmp_path):
    lying = spotted(400, 120, (300, 20, 380, 100)).transpose(Image.Transpose.ROTATE_90)
    exif = lying.getexif()
    exif[0x0112] = 6  # to be turned right by a quarter
    lying.save(tmp_path / "a.jpg", exif=exif, quality=95)
    found = subject_part(Sample(image=tmp_path / "a.jpg", caption=""))
    assert found is not None and 300 < (found.left + found.right) / 2 < 380


def test_a_box_is_measured_in_whichever_size_is_at_hand():
    assert scale_box(Box(10, 20, 30, 40), (100, 100), (50, 200)) == Box(5, 40, 15, 80)


def test_what_is_opaque_is_kept_where_transparency_is_a_mask(tmp_path):
    image = spotted(400, 120, (10, 20, 90, 100)).convert("RGBA")
    opacity = Image.new("L", image.size)
    opacity.paste(255, (300, 20, 380, 100))
    image.putalpha(opacity)
    image.save(tmp_path / "a.png")
    sample = Sample(image=tmp_path / "a.png", caption="")
    assert protected_box(sample, CropMode.centre, AlphaPolicy.mask) == Box(300, 20, 380, 100)
    assert protected_box(sample, CropMode.centre, AlphaPolicy.composite) is None


def test_of_a_mask_and_transparency_what_both_keep_is_kept(tmp_path):
    image = spotted(400, 120, (10, 20, 90, 100)).convert("RGBA")
    opacity, mask = Image.new("L", image.size), Image.new("L", image.size)
    opacity.paste(255, (200, 0, 400, 120))
    mask.paste(255, (150, 20, 250, 100))
    image.putalpha(opacity)
    image.save(tmp_path / "a.png")
    mask.save(tmp_path / "a.mask.png")
    sample = Sample(image=tmp_path / "a.png", caption="", mask=tmp_path / "a.mask.png")
    assert protected_box(sample, CropMode.centre, AlphaPolicy.mask) == Box(200, 20, 250, 100)
    assert protected_box(sample, CropMode.centre, AlphaPolicy.composite) == Box(150, 20, 250, 100)


def test_boxes_that_do_not_meet_share_nothing():
    assert intersection(Box(0, 0, 10, 10), Box(5, 5, 20, 20)) == Box(5, 5, 10, 10)
    assert intersection(Box(0, 0, 10, 10), Box(10, 0, 20, 10)) is None
