"""A picture looks the same whatever program wrote it."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.buckets import Bucket
from flux_lora.data.decode import fit, open_image, to_pixels, upright_size
from flux_lora.errors import DataError
from tests.data.pictures import gradient

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


def opened(file, alpha: AlphaPolicy = AlphaPolicy.composite) -> np.ndarray:
    picture = open_image(file, alpha)
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(int)


def assert_near(seen: np.ndarray, wanted: Image.Image | np.ndarray, within: int) -> None:
    assert np.abs(seen - np.asarray(wanted).astype(int)).max() <= within


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "tif"])
def test_a_photo_is_upright_however_the_camera_was_held(tmp_path, orientation, ending):
    stored = gradient() if orientation == 1 else gradient().transpose(TURNED_BACK[orientation])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    file = tmp_path / f"a.{ending}"
    stored.save(file, exif=exif, **({} if ending in {"png", "tif"} else {"quality": 100}))
    assert_near(opened(file), gradient(), 0 if ending in {"png", "tif"} else 12)
    assert upright_size(file) == (48, 32)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_lie_on_neutral_grey(tmp_path, mode):
    opaque = gradient().convert(mode[:-1])
    opacity = Image.new("L", opaque.size, 0)
    opacity.paste(255, (24, 0, 48, 32))
    opaque.putalpha(opacity)
    opaque.save(tmp_path / "a.png")
    seen = opened(tmp_path / "a.png")
    assert (seen[:, :24] == 128).all()
    assert_near(seen[:, 24:], np.asarray(gradient().convert(mode[:-1]).convert("RGB"))[:, 24:], 0)


def test_half_transparent_parts_are_mixed_with_the_grey(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert_near(opened(tmp_path / "a.png"), np.full((8, 8, 3), (192, 64, 64)), 1)


def test_transparent_parts_can_be_refused(tmp_path):
    Image.new("RGBA", (8, 8), (255, 0, 0, 128)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png has transparent parts") as refusal:
        open_image(tmp_path / "a.png", AlphaPolicy.refuse)
    assert "data.alpha=composite" in refusal.value.fix


def test_an_alpha_channel_that_hides_nothing_is_not_refused(tmp_path):
    picture = gradient().convert("RGBA")
    picture.save(tmp_path / "a.png")
    assert_near(opened(tmp_path / "a.png", AlphaPolicy.refuse), gradient(), 0)


def test_sixteen_bit_grey_keeps_its_shades(tmp_path):
    shades = np.linspace(0, 65535, 256).reshape(16, 16).astype(np.uint16)
    for ending in ("png", "tif"):
        Image.fromarray(shades).save(tmp_path / f"a.{ending}")
        seen = opened(tmp_path / f"a.{ending}")
        assert_near(seen[..., 0], (shades / 257).round(), 0)
        assert (seen[..., 0] == seen[..., 2]).all()


def test_floating_point_pixels_are_refused_rather_than_guessed(tmp_path):
    Image.fromarray(np.full((8, 8), 0.5, dtype=np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="floating-point"):
        open_image(tmp_path / "a.tif", AlphaPolicy.composite)


def test_cmyk_without_a_profile_has_the_colours_people_see(tmp_path):
    gradient().convert("CMYK").save(tmp_path / "a.jpg", quality=100, subsampling=0)
    assert_near(opened(tmp_path / "a.jpg"), gradient(), 12)


def test_a_palette_becomes_its_colours(tmp_path):
    indexed = gradient().quantize(64)
    indexed.save(tmp_path / "a.png")
    assert_near(opened(tmp_path / "a.png"), indexed.convert("RGB"), 0)


def test_a_transparent_palette_entry_lies_on_neutral_grey(tmp_path):
    indexed = Image.new("P", (8, 8), 1)
    indexed.putpalette([255, 0, 0, 0, 255, 0])
    indexed.paste(0, (0, 0, 4, 8))
    indexed.save(tmp_path / "a.png", transparency=0)
    seen = opened(tmp_path / "a.png")
    assert (seen[:, :4] == 128).all()
    assert (seen[:, 4:] == (0, 255, 0)).all()


@pytest.mark.parametrize("mode", ["1", "L"])
def test_black_and_white_and_grey_become_three_channels(tmp_path, mode):
    gradient().convert(mode).save(tmp_path / "a.png")
    assert_near(opened(tmp_path / "a.png"), gradient().convert(mode).convert("RGB"), 0)


def swapped_profile() -> bytes:
    """An RGB profile with red and green in each other's place: whoever reads it sees the channels swapped."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = content.find(b"rXYZ"), content.find(b"gXYZ")
    content[red : red + 4], content[green : green + 4] = b"gXYZ", b"rXYZ"
    text = content.find("sRGB".encode("utf-16-be"))
    content[text : text + 8] = "odd!".encode("utf-16-be")
    return bytes(content)


def test_the_files_own_colours_are_turned_into_srgb(tmp_path):
    gradient().save(tmp_path / "a.png", icc_profile=swapped_profile())
    assert_near(opened(tmp_path / "a.png"), np.asarray(gradient())[..., [1, 0, 2]], 2)


def test_transparency_and_a_profile_go_together(tmp_path):
    picture = gradient().convert("RGBA")
    picture.putpixel((0, 0), (0, 0, 0, 0))
    picture.save(tmp_path / "a.png", icc_profile=swapped_profile())
    seen = opened(tmp_path / "a.png")
    assert seen[0, 0].tolist() == [128, 128, 128]
    assert_near(seen[:, 1:], np.asarray(gradient())[:, 1:, [1, 0, 2]], 2)


def test_an_srgb_profile_changes_nothing(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    gradient().save(tmp_path / "a.png", icc_profile=profile)
    assert_near(opened(tmp_path / "a.png"), gradient(), 0)


@pytest.mark.parametrize("profile", [b"not a profile", swapped_profile()], ids=["damaged", "of another mode"])
def test_a_profile_that_does_not_fit_is_left_aside(tmp_path, profile):
    gradient().convert("L").save(tmp_path / "a.png", icc_profile=profile)
    assert_near(opened(tmp_path / "a.png"), gradient().convert("L").convert("RGB"), 0)


def test_a_file_cut_short_is_named_with_a_way_out(tmp_path):
    gradient(200, 200).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:800])
    with pytest.raises(DataError, match=r"a\.jpg cannot be read") as refusal:
        open_image(tmp_path / "a.jpg", AlphaPolicy.composite)
    assert "save it again" in refusal.value.fix


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ending=st.sampled_from(["png", "jpg", "webp", "tif", "bmp"]),
    cut=st.floats(0, 1),
    wounds=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
)
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_file_is_read_or_refused_and_never_crashes(tmp_path, ending, cut, wounds):
    file = tmp_path / f"a.{ending}"
    gradient(24, 16).save(file)
    content = bytearray(file.read_bytes())
    for place, value in wounds:
        content[int(place * len(content))] = value
    file.write_bytes(content[: int(cut * len(content))] if cut < 0.9 else content)
    try:
        open_image(file, AlphaPolicy.composite)
        upright_size(file)
    except DataError as error:
        assert "a." in error.problem


@pytest.mark.parametrize("bucket", [Bucket(64, 64), Bucket(96, 48), Bucket(16, 80)])
def test_fit_is_exactly_the_bucket_and_keeps_the_middle(bucket):
    picture = ImageOps.expand(Image.new("RGB", (60, 30), (255, 0, 0)), 40, (0, 0, 255))
    fitted = fit(picture, bucket)
    assert fitted.size == (bucket.width, bucket.height)
    assert fitted.getpixel((bucket.width // 2, bucket.height // 2)) == (255, 0, 0)


def test_fit_does_not_stretch():
    disc = Image.new("RGB", (200, 100), "black")
    disc.paste("white", (75, 25, 125, 75))
    seen = np.asarray(fit(disc, Bucket(64, 64)))[..., 0] > 127
    rows, columns = np.where(seen)
    assert np.ptp(rows) == np.ptp(columns)


def test_pixels_run_from_minus_one_to_one_channels_first():
    pixels = to_pixels(gradient())
    assert pixels.shape == (3, 32, 48)
    assert pixels[:2].aminmax() == (-1.0, 1.0)
    assert torch.equal(pixels[0, :, -1], torch.ones(32))
