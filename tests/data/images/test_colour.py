"""Colours are what people see, whatever the file calls them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.images.decode import decode
from flux_lora.errors import DataError
from tests.data.drawn_images import gradient
from tests.data.handmade_files import RGB, png, swapped_profile, tiff

SHADES = np.linspace(0, 65535, 16 * 16).astype(np.uint16).reshape(16, 16)
COLOURS = np.stack([SHADES, SHADES[::-1], SHADES.T], axis=-1)
SCALED = (COLOURS / 257).round()
BLACK_IS_ZERO, WHITE_IS_ZERO, TIFF_RGB = 1, 0, 2


def seen(file) -> np.ndarray:
    image = decode(file, AlphaPolicy.composite).image
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def notes(file) -> tuple[str, ...]:
    return decode(file, AlphaPolicy.composite).notes


def assert_near(pixels: np.ndarray, wanted: Image.Image | np.ndarray, within: int) -> None:
    assert np.abs(pixels - np.asarray(wanted).astype(int)).max() <= within


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bit_grey_keeps_its_shades(tmp_path, ending):
    file = tmp_path / f"a.{ending}"
    Image.fromarray(SHADES).save(file)
    assert_near(seen(file)[..., 0], (SHADES / 257).round(), 0)
    assert_near(seen(file)[..., 2], (SHADES / 257).round(), 0)
    assert notes(file) == ("16-bit scaled",)


def test_a_dark_sixteen_bit_image_is_dark_and_not_white(tmp_path):
    Image.fromarray(np.full((16, 16), 1000, dtype=np.uint16)).save(tmp_path / "a.png")
    assert (seen(tmp_path / "a.png") == 4).all()


def test_sixteen_bit_colours_are_scaled(tmp_path):
    (tmp_path / "a.png").write_bytes(png((16, 16), RGB, [row.astype(">u2").tobytes() for row in COLOURS]))
    content = COLOURS.astype("<u2").tobytes()
    (tmp_path / "a.tif").write_bytes(tiff((16, 16), (16, 16, 16), content, photometric=TIFF_RGB))
    for file in (tmp_path / "a.png", tmp_path / "a.tif"):
        assert_near(seen(file), SCALED, 1)
        assert seen(file).max() == 255
        assert notes(file) == ("16-bit scaled",)


def test_eight_bits_are_not_said_to_be_sixteen(tmp_path):
    for ending in ("png", "tif", "bmp", "webp", "jpg"):
        gradient().save(tmp_path / f"a.{ending}")
        assert notes(tmp_path / f"a.{ending}") == ()


def test_twelve_bit_grey_is_white_at_twelve_bits(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff((16, 16), (12,), b"\xff\xf0\x00" * 128, photometric=BLACK_IS_ZERO))
    pixels = seen(tmp_path / "a.tif")
    assert (pixels[:, ::2] == 255).all()
    assert (pixels[:, 1::2] == 0).all()


def test_sixteen_bit_grey_in_which_white_is_zero_is_not_seen_as_its_negative(tmp_path):
    content = SHADES.astype("<u2").tobytes()
    (tmp_path / "a.tif").write_bytes(tiff((16, 16), (16,), content, photometric=WHITE_IS_ZERO))
    assert_near(seen(tmp_path / "a.tif")[..., 0], ((65535 - SHADES) / 257).round(), 0)


def test_deep_channels_stored_one_after_the_other_are_refused_and_not_misread(tmp_path):
    content = COLOURS.transpose(2, 0, 1).astype("<u2").tobytes()
    (tmp_path / "a.tif").write_bytes(tiff((16, 16), (16, 16, 16), content, photometric=TIFF_RGB, planar=2))
    with pytest.raises(DataError, match="one after the other"):
        seen(tmp_path / "a.tif")


def test_eight_bit_channels_stored_one_after_the_other_are_read(tmp_path):
    content = SCALED.astype(np.uint8).transpose(2, 0, 1).tobytes()
    (tmp_path / "a.tif").write_bytes(tiff((16, 16), (8, 8, 8), content, photometric=TIFF_RGB, planar=2))
    assert_near(seen(tmp_path / "a.tif"), SCALED, 0)


@pytest.mark.parametrize(("kind", "said"), [(np.float32, "floating-point"), (np.int32, "32 bits")])
def test_pixels_without_a_known_white_are_refused_rather_than_guessed(tmp_path, kind, said):
    Image.fromarray(np.full((16, 16), 0.5).astype(kind)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=said):
        seen(tmp_path / "a.tif")


@pytest.mark.parametrize("ending", ["jpg", "tif"])
def test_inks_have_the_colours_people_see(tmp_path, ending):
    """Adobe stores a JPEG's inks inverted, and Pillow writes as Adobe does."""
    file = tmp_path / f"a.{ending}"
    gradient().convert("CMYK").save(file, **({"quality": 100, "subsampling": 0} if ending == "jpg" else {}))
    assert_near(seen(file), gradient(), 12 if ending == "jpg" else 0)
    assert notes(file) == ("CMYK",)


def test_inks_as_photoshop_stores_them_have_the_colours_people_see(tmp_path):
    """YCCK: the inverted inks turned into luma and chroma, and Adobe's mark says so."""
    luma = ImageOps.invert(gradient()).convert("YCbCr").split()
    stored = Image.merge("CMYK", [ImageOps.invert(channel) for channel in (*luma, Image.new("L", (48, 32), 255))])
    content = io.BytesIO()
    stored.save(content, "JPEG", quality=100, subsampling=0)
    plain = content.getvalue()
    mark = plain.index(b"Adobe\x00\x64") + len(b"Adobe") + 6
    assert plain[mark] == 0
    (tmp_path / "a.jpg").write_bytes(plain[:mark] + b"\x02" + plain[mark + 1 :])
    assert_near(seen(tmp_path / "a.jpg"), gradient(), 14)
    assert notes(tmp_path / "a.jpg") == ("CMYK",)


@pytest.mark.parametrize("ending", ["png", "gif", "bmp"])
def test_a_palette_becomes_its_colours(tmp_path, ending):
    indexed = gradient().quantize(64)
    indexed.save(tmp_path / f"a.{ending}")
    assert_near(seen(tmp_path / f"a.{ending}"), indexed.convert("RGB"), 0)
    assert notes(tmp_path / f"a.{ending}") == ("palette",)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_black_and_white_and_grey_become_three_channels(tmp_path, mode):
    gradient().convert(mode).save(tmp_path / "a.png")
    assert_near(seen(tmp_path / "a.png"), gradient().convert(mode).convert("RGB"), 0)
    assert notes(tmp_path / "a.png") == ()


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif", "avif"])
def test_the_files_own_colours_are_turned_into_srgb_and_the_profile_is_named(tmp_path, ending):
    file = tmp_path / f"a.{ending}"
    gradient().save(file, icc_profile=swapped_profile(), **({} if ending in {"png", "tif"} else {"quality": 100}))
    assert_near(seen(file), np.asarray(gradient())[..., [1, 0, 2]], 2 if ending in {"png", "tif"} else 14)
    assert notes(file) == ("converted from odd! built-in",)


def test_a_file_keeps_its_profile_and_a_copy_of_the_image_has_none(tmp_path):
    """G17: converting is for us; the user's file is as it was."""
    gradient().save(tmp_path / "a.png", icc_profile=swapped_profile())
    before = (tmp_path / "a.png").read_bytes()
    decode(tmp_path / "a.png", AlphaPolicy.composite).image.save(tmp_path / "copy.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert (seen(tmp_path / "copy.png") == seen(tmp_path / "a.png")).all()


def test_an_srgb_profile_changes_nothing_and_is_not_worth_a_word(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    gradient().save(tmp_path / "a.png", icc_profile=profile)
    assert_near(seen(tmp_path / "a.png"), gradient(), 0)
    assert notes(tmp_path / "a.png") == ()


@pytest.mark.parametrize("profile", [b"not a profile", swapped_profile()], ids=["damaged", "of another mode"])
def test_a_profile_that_does_not_fit_is_left_aside_and_said(tmp_path, profile):
    gradient().convert("L").save(tmp_path / "a.png", icc_profile=profile)
    assert_near(seen(tmp_path / "a.png"), gradient().convert("L").convert("RGB"), 0)
    assert notes(tmp_path / "a.png") == ("damaged colour profile ignored",)
