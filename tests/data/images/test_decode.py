"""An image looks the same whatever program wrote it, and what was done for that is said."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.images.decode import decode, open_image, upright_size
from flux_lora.errors import DataError
from tests.data.drawn_images import gradient
from tests.data.handmade_files import chunk

ORIENTATION = 0x0112
TURNED_BACK = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
EXACT = {"png", "tif"}
CLOSE_DB = 40


def seen(file: Path) -> np.ndarray:
    return np.asarray(decode(file, AlphaPolicy.composite).image).astype(int)


def notes(file: Path) -> tuple[str, ...]:
    return decode(file, AlphaPolicy.composite).notes


def save_turned(file: Path, orientation: int, image: Image.Image) -> None:
    """As a camera does that was held so."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = image if orientation == 1 else image.transpose(TURNED_BACK[orientation])
    content = exif.tobytes() if file.suffix == ".heic" else exif  # pillow-heif hears of a turn in bytes only
    stored.save(file, exif=content, **({} if file.suffix[1:] in EXACT else {"quality": 100}))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif", "avif", "heic"])
def test_a_photo_is_upright_however_the_camera_was_held(tmp_path, orientation, ending):
    if ending == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    file = tmp_path / f"a.{ending}"
    save_turned(file, orientation, gradient())
    assert np.abs(seen(file) - np.asarray(gradient())).max() <= (0 if ending in EXACT else 14)
    assert upright_size(file) == (48, 32)
    assert notes(file) == (() if orientation == 1 else ("turned upright",))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "I;16", "CMYK"])
def test_a_tiff_that_pillow_would_map_into_memory_is_turned_once(tmp_path, mode, orientation):
    """Given the file's name, Pillow reads such a one with width and height swapped."""
    shades = np.arange(32 * 48, dtype=np.uint16).reshape(32, 48) * 40
    upright = Image.fromarray(shades) if mode == "I;16" else gradient().convert(mode)
    wanted = (shades / 257).round()[..., None] if mode == "I;16" else np.asarray(upright.convert("RGB"))
    save_turned(tmp_path / "a.tif", orientation, upright)
    assert (seen(tmp_path / "a.tif") == wanted).all()


def test_a_turn_that_a_png_tells_behind_its_pixels_is_heard(tmp_path):
    """Where exiftool writes it."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    gradient().transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    end = chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(content.removesuffix(end) + chunk(b"eXIf", exif.tobytes()[6:]) + end)
    assert (seen(tmp_path / "a.png") == np.asarray(gradient())).all()
    assert upright_size(tmp_path / "a.png") == (48, 32)


def test_damaged_exif_is_said_and_costs_nobody_the_image(tmp_path):
    gradient().save(tmp_path / "a.png", exif=b"Exif\0\0nothing of the kind")
    assert (seen(tmp_path / "a.png") == np.asarray(gradient())).all()
    assert notes(tmp_path / "a.png") == ("damaged EXIF ignored",)


@pytest.mark.parametrize("ending", ["gif", "webp", "png", "avif", "tif"])
def test_of_a_moving_image_the_first_frame_is_taken_and_said(tmp_path, ending):
    frames = [Image.new("RGB", (32, 16), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / f"a.{ending}", save_all=True, append_images=frames[1:])
    assert np.abs(seen(tmp_path / f"a.{ending}") - (255, 0, 0)).max() <= 6
    assert "first frame of 3" in notes(tmp_path / f"a.{ending}")


def test_a_moving_image_damaged_behind_its_first_frame_is_read(tmp_path):
    frames = [gradient(seed=seed).quantize(64) for seed in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    content = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "a.gif").write_bytes(content[: int(0.8 * len(content))])
    assert seen(tmp_path / "a.gif").shape == (32, 48, 3)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "bmp", "gif", "avif", "heic"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_file_cut_short_is_named_with_a_way_out(tmp_path, ending, kept):
    if ending == "heic":
        pytest.importorskip("pillow_heif").register_heif_opener()
    file = tmp_path / f"a.{ending}"
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=rf"a\.{ending} cannot be read") as refusal:
        decode(file, AlphaPolicy.composite)
    assert "save it again" in refusal.value.fix


def test_open_image_is_the_image_alone(tmp_path):
    gradient().save(tmp_path / "a.png")
    assert (np.asarray(open_image(tmp_path / "a.png", AlphaPolicy.composite)) == np.asarray(gradient())).all()


@cache
def cloudy(width: int, height: int) -> Image.Image:
    """As rich in detail at every size as photographs are: each finer grain half as strong."""
    random, shades = np.random.default_rng(0), np.full((height, width), 128, dtype=np.float32)
    for power in range(1, 10):
        grain = random.normal(0, 90 / 2**power, (2**power + 1, 2**power + 1)).astype(np.float32)
        shades += np.asarray(Image.fromarray(grain).resize((width, height), Image.Resampling.BICUBIC))
    grey = shades.clip(0, 255).astype(np.uint8)
    return Image.fromarray(np.stack([grey, grey[::-1], grey[:, ::-1]], axis=-1))


def decibels(one: Image.Image, other: Image.Image) -> float:
    difference = np.asarray(one).astype(float) - np.asarray(other)
    return float(10 * np.log10(255**2 / np.square(difference).mean()))


@pytest.mark.parametrize(("cover", "reduced"), [((240, 180), 2), ((100, 75), 4), ((50, 35), 8)])
def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same_once_resized(tmp_path, cover, reduced):
    cloudy(803, 603).save(tmp_path / "a.jpg", quality=92)
    whole = decode(tmp_path / "a.jpg", AlphaPolicy.composite).image
    smaller = decode(tmp_path / "a.jpg", AlphaPolicy.composite, cover=cover)
    assert smaller.reduced == reduced
    assert smaller.image.size == (-(-803 // reduced), -(-603 // reduced))
    assert smaller.spans == (smaller.image.width * reduced, smaller.image.height * reduced)
    box = (0, 0, 803 / reduced, 603 / reduced)
    wanted = whole.resize(cover, Image.Resampling.LANCZOS)
    assert decibels(smaller.image.resize(cover, Image.Resampling.LANCZOS, box=box), wanted) >= CLOSE_DB


def test_a_jpeg_that_is_hardly_larger_than_wanted_is_decoded_whole(tmp_path):
    cloudy(800, 600).save(tmp_path / "a.jpg")
    for cover in ((300, 200), (100, 400), (800, 600), (2000, 2000)):
        decoded = decode(tmp_path / "a.jpg", AlphaPolicy.composite, cover=cover)
        assert (decoded.reduced, decoded.image.size) == (1, (800, 600))


def test_a_jpeg_lying_on_its_side_still_covers_what_is_wanted_upright(tmp_path):
    save_turned(tmp_path / "a.jpg", 6, cloudy(800, 200))
    assert decode(tmp_path / "a.jpg", AlphaPolicy.composite, cover=(230, 50)).image.size == (400, 100)
    assert decode(tmp_path / "a.jpg", AlphaPolicy.composite, cover=(50, 150)).image.size == (800, 200)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(st.integers(16, 300), st.integers(16, 300)), st.tuples(st.integers(1, 300), st.integers(1, 300)))
def test_what_is_decoded_smaller_covers_what_is_wanted(tmp_path, size, cover):
    gradient(*size).save(tmp_path / "a.jpg")
    decoded = decode(tmp_path / "a.jpg", AlphaPolicy.composite, cover=cover)
    if decoded.reduced > 1:
        assert decoded.image.width >= 1.6 * cover[0]
        assert decoded.image.height >= 1.6 * cover[1]
    assert decoded.image.size == tuple(-(-side // decoded.reduced) for side in size)


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_what_is_not_a_jpeg_is_decoded_whole(tmp_path, ending):
    gradient(800, 600).save(tmp_path / f"a.{ending}")
    assert decode(tmp_path / f"a.{ending}", AlphaPolicy.composite, cover=(50, 40)).reduced == 1
