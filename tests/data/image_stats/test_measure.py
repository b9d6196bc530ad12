import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.photographs import after, barred, blurred, cropped, enlarged, jpeg, resized, shaken, signed
from flux_lora.data.image_stats.borders import find_borders
from flux_lora.data.image_stats.copies import distances, perceptual_hashes, stack_hashes
from flux_lora.data.image_stats.measure import measure, quality_of
from flux_lora.data.image_stats.sharpness import blockiness, finer_than_half, sharpness
from tests.data.scenes import look, product, scene


def grey(image):
    return np.asarray(image.convert("L"), dtype=np.float32)


def test_blur_lowers_sharpness_and_shake_in_one_direction_does_too():
    clear = sharpness(grey(scene()))
    assert clear > 0.5
    for dull in (blurred(5), shaken(25)):
        assert sharpness(grey(dull(scene()))) < 0.6 * clear


def test_stripes_in_one_direction_are_sharp():
    stripes = np.zeros((200, 200), dtype=np.float32)
    stripes[:, ::20] = 200
    assert sharpness(stripes) > 0.5


def test_noise_does_not_make_a_blurred_image_sharp():
    noisy = grey(blurred(6)(scene())) + np.random.default_rng(0).normal(0, 2, (240, 320)).astype(np.float32)
    assert sharpness(noisy) < 0.4


def test_an_image_that_was_doubled_has_nothing_finer_than_half():
    assert finer_than_half(grey(scene())) > 0.3
    assert finer_than_half(grey(enlarged(2)(scene()))) < 0.25


@pytest.mark.parametrize("start", [0, 3])
def test_jpeg_blocks_are_seen_wherever_their_grid_starts(start):
    coarse = jpeg(12)(scene())
    assert blockiness(grey(coarse.crop((start, start, 300, 230)))) > 1.8
    assert blockiness(grey(jpeg(92)(scene()))) < 1.4


def test_squares_of_a_chequered_floor_are_no_jpeg_blocks():
    rows, columns = np.mgrid[0:240, 0:240] // 48
    assert blockiness(((rows + columns) % 2 * 120 + 60).astype(np.float32)) < 1.2


@pytest.mark.parametrize("quality", [10, 50, 75, 95])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(quality):
    held = io.BytesIO()
    scene().save(held, "JPEG", quality=quality)
    with Image.open(held) as opened:
        assert abs(quality_of(opened.quantization) - quality) <= 2


def test_a_look_knows_format_and_quality_from_the_file(tmp_path: Path):
    for name, quality in (("a.jpg", 60), ("b.png", 0)):
        scene().save(tmp_path / name, quality=60)
        seen = measure(tmp_path / name, scene())
        assert (seen.format, abs(seen.quality - quality) <= 2) == ("JPEG" if quality else "PNG", True)


def test_letterbox_bars_are_measured_in_pixels_of_the_file():
    seen = look(barred(0.1)(scene(width=1280, height=960)))
    assert seen.borders.top == pytest.approx(96, abs=4)
    assert seen.borders.bottom == pytest.approx(96, abs=4)
    assert (seen.borders.left, seen.borders.right, seen.borders.written) == (0, 0, False)


def test_a_frame_of_any_colour_is_seen_on_all_sides():
    found = find_borders(np.asarray(barred(0.08, 0.06, "#b04020")(scene())))
    assert min(found.top, found.right, found.bottom, found.left) > 10


def test_a_product_on_white_has_no_bars():
    assert not find_borders(np.asarray(product()))


def test_walls_and_stripes_that_end_straight_are_no_bars():
    image = np.asarray(scene()).copy()
    image[:80] = (200, 190, 170)
    image[200:] = (120, 80, 50)
    assert not find_borders(image)
    stripes = np.asarray(scene()).copy()
    stripes[:, :40] = stripes[:, -40:] = (238, 224, 190)
    assert not find_borders(stripes)


def test_a_flat_ground_is_told_and_the_thing_before_it_is_found():
    seen = look(product((90, 140, 200), at=(0.3, 0.6), size=0.5))
    assert seen.ground.flat
    assert np.abs(np.subtract(seen.ground.colour, (90, 140, 200))).max() <= 2
    assert seen.subject is not None
    assert seen.subject.middle == pytest.approx((0.3, 0.6), abs=0.03)


def test_a_busy_scene_has_no_flat_ground_and_a_mask_tells_where_the_thing_is():
    assert not look(scene()).ground.flat
    assert look(scene()).subject is None
    mask = Image.new("L", (320, 240), 0)
    mask.paste(255, (160, 0, 320, 120))
    shown = look(scene(), mask=mask)
    assert shown.masked
    assert shown.subject is not None
    assert shown.subject.middle == pytest.approx((0.75, 0.25), abs=0.02)


def test_a_white_sweep_is_not_called_lost_in_white_but_a_blown_scene_is():
    assert look(product()).exposure.white < 0.05
    blown = Image.fromarray((np.asarray(scene()).astype(int) * 3).clip(0, 255).astype(np.uint8))
    assert look(blown).exposure.white > 0.25


CHANGES = [
    resized(0.5),
    resized(1.7),
    jpeg(30),
    cropped(0.05, 0, 0, 0),
    cropped(0, 0.05, 0.05, 0),
    cropped(0.02, 0.02, 0.02, 0.02),
    cropped(0.05, 0.05, 0.05, 0.05),
    after(cropped(0.03, 0, 0.02, 0.04), after(resized(0.6), jpeg(40))),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_fingerprint_stays_close_through_resizing_recompression_and_small_crops(change, seed):
    whole, changed = (stack_hashes([perceptual_hashes(each)]) for each in (scene(seed), change(scene(seed))))
    assert min(distances(whole, changed)[0, 0], distances(changed, whole)[0, 0]) <= 38


def test_fingerprints_of_other_images_are_far():
    prints = stack_hashes([perceptual_hashes(scene(seed)) for seed in range(12)])
    apart = distances(prints, prints)
    assert apart[~np.eye(12, dtype=bool)].min() > 70
    assert (apart.diagonal() == 0).all()


def test_an_image_of_one_colour_has_no_fingerprint():
    assert perceptual_hashes(Image.new("RGB", (64, 64), "grey")) == b""


def test_the_same_pixels_have_the_same_digest_and_one_pixel_changes_it():
    image = scene()
    other = image.copy()
    other.putpixel((5, 5), (1, 2, 3))
    assert look(image).digest == look(image.copy()).digest != look(other).digest


@settings(max_examples=60)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    seed=st.integers(0, 9),
    levels=st.sampled_from([1, 2, 256]),
)
def test_any_image_however_small_or_empty_can_be_looked_at(width, height, seed, levels):
    values = np.random.default_rng(seed).integers(0, levels, (height, width, 3)) * (255 // max(1, levels - 1))
    seen = look(Image.fromarray(values.astype(np.uint8)))
    assert (seen.width, seen.height) == (width, height)
    assert all(np.isfinite([seen.sharpness, seen.noise, seen.blockiness, seen.exposure.entropy]))
    assert seen.borders.top + seen.borders.bottom < height
    assert seen.borders.left + seen.borders.right < width


def test_a_line_of_letters_in_a_corner_is_seen_and_a_label_in_the_middle_is_not():
    assert look(signed(product((90, 140, 200)))).lettering == "bottom right"
    assert look(product()).lettering == ""
    assert look(signed(scene(4))).lettering.startswith("bottom")


@pytest.mark.parametrize("seed", range(4))
def test_shapes_and_texture_are_no_letters(seed):
    assert look(scene(seed, width=480, height=360)).lettering == ""
