"""The colour hidden under transparent parts is never trained on, whatever the policy (G4)."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.images.decode import decode, own_colour
from flux_lora.errors import DataError
from tests.data.drawn_images import gradient
from tests.data.handmade_files import GREY, GREY_ALPHA, RGB, RGBA, chunk, png, swapped_profile

HIDDEN = (255, 0, 255)


def seen(file, alpha: AlphaPolicy = AlphaPolicy.composite) -> np.ndarray:
    image = decode(file, alpha).image
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def cut_out(file: Path) -> Path:
    """The left half hides magenta, the right half is red."""
    image = Image.new("RGBA", (32, 16), (*HIDDEN, 0))
    image.paste((255, 0, 0, 255), (16, 0, 32, 16))
    image.save(file, **({"lossless": True, "exact": True} if file.suffix == ".webp" else {}))
    return file


@pytest.mark.parametrize("ending", ["png", "webp", "tif"])
def test_a_cut_out_lies_on_neutral_grey_and_its_matte_is_not_seen(tmp_path, ending):
    file = cut_out(tmp_path / f"a.{ending}")
    decoded = decode(file, AlphaPolicy.composite)
    pixels = np.asarray(decoded.image)
    assert (pixels[:, :16] == 128).all()
    assert (pixels[:, 16:] == (255, 0, 0)).all()
    assert decoded.notes == ("transparent parts on grey",)
    assert decoded.opacity is None


def test_under_varied_each_image_has_a_plain_ground_of_its_own(tmp_path):
    grounds = set()
    for number in range(8):
        file = tmp_path / f"{number}.png"
        image = Image.new("RGBA", (16, 16), (*HIDDEN, 0))
        image.putpixel((number, 0), (1, 2, 3, 255))
        image.save(file)
        pixels = seen(file, AlphaPolicy.varied)
        ground = tuple(pixels[8, 8])
        assert ground == own_colour(file)
        assert (pixels[1:] == ground).all()
        grounds.add(ground)
    assert len(grounds) == 8
    assert HIDDEN not in grounds
    assert decode(file, AlphaPolicy.varied).notes == ("transparent parts on a ground of its own",)


def test_under_varied_the_ground_is_the_same_each_time_and_under_another_name(tmp_path):
    first, second = cut_out(tmp_path / "a.png"), tmp_path / "b.png"
    second.write_bytes(first.read_bytes())
    assert (seen(first, AlphaPolicy.varied) == seen(second, AlphaPolicy.varied)).all()


def test_under_mask_transparent_parts_are_grey_and_count_for_nothing(tmp_path):
    decoded = decode(cut_out(tmp_path / "a.png"), AlphaPolicy.mask)
    assert decoded.opacity is not None
    assert decoded.opacity.mode == "L"
    opacity = np.asarray(decoded.opacity)
    assert (opacity[:, :16] == 0).all()
    assert (opacity[:, 16:] == 255).all()
    assert (np.asarray(decoded.image)[:, :16] == 128).all()
    assert decoded.notes == ("transparent parts become a mask",)


def test_an_opaque_image_has_no_mask(tmp_path):
    gradient().save(tmp_path / "a.png")
    assert decode(tmp_path / "a.png", AlphaPolicy.mask).opacity is None


def test_a_mask_is_turned_with_its_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGBA", (32, 16), (*HIDDEN, 0))
    image.paste((255, 0, 0, 255), (16, 0, 32, 16))
    image.save(tmp_path / "a.png", exif=exif)
    decoded = decode(tmp_path / "a.png", AlphaPolicy.mask)
    assert decoded.opacity is not None
    assert decoded.opacity.size == decoded.image.size == (16, 32)
    assert (np.asarray(decoded.opacity)[:16] == 0).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_opaque_parts_keep_their_colours(tmp_path, mode):
    opaque = gradient().convert(mode[:-1])
    opacity = Image.new("L", opaque.size, 0)
    opacity.paste(255, (24, 0, 48, 32))
    opaque.putalpha(opacity)
    opaque.save(tmp_path / "a.png")
    pixels = seen(tmp_path / "a.png")
    assert (pixels[:, :24] == 128).all()
    assert (pixels[:, 24:] == np.asarray(gradient().convert(mode[:-1]).convert("RGB"))[:, 24:]).all()


def test_half_transparent_parts_are_mixed_with_the_grey(tmp_path):
    Image.new("RGBA", (16, 16), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert np.abs(seen(tmp_path / "a.png") - (192, 64, 64)).max() <= 1


def test_a_transparent_palette_entry_lies_on_neutral_grey(tmp_path):
    indexed = Image.new("P", (16, 16), 1)
    indexed.putpalette([255, 0, 0, 0, 255, 0])
    indexed.paste(0, (0, 0, 8, 16))
    for ending in ("png", "gif"):
        indexed.save(tmp_path / f"a.{ending}", transparency=0)
        pixels = seen(tmp_path / f"a.{ending}")
        assert (pixels[:, :8] == 128).all(), ending
        assert (pixels[:, 8:] == (0, 255, 0)).all(), ending


def sixteen(*channels: int) -> bytes:
    """One row: the left 8 pixels are these channels, the right 8 are white."""
    white = struct.pack(">H", 65535) * len(channels)
    return struct.pack(f">{len(channels)}H", *channels) * 8 + white * 8


@pytest.mark.parametrize(
    ("colour", "row", "hidden"),
    [
        (GREY_ALPHA, sixteen(20000, 0), b""),
        (RGBA, sixteen(20000, 0, 40000, 0), b""),
        (GREY, sixteen(20000), chunk(b"tRNS", struct.pack(">H", 20000))),
        (RGB, sixteen(20000, 1, 40000), chunk(b"tRNS", struct.pack(">HHH", 20000, 1, 40000))),
    ],
    ids=["grey and alpha", "RGBA", "one grey", "one colour"],
)
def test_sixteen_bit_images_hide_their_matte_too(tmp_path, colour, row, hidden):
    (tmp_path / "a.png").write_bytes(png((16, 16), colour, [row] * 16, between=hidden))
    pixels = seen(tmp_path / "a.png")
    assert (pixels[:, :8] == 128).all()
    assert (pixels[:, 8:] == 255).all()
    assert decode(tmp_path / "a.png", AlphaPolicy.mask).notes == ("16-bit scaled", "transparent parts become a mask")


def test_transparency_and_a_profile_go_together(tmp_path):
    image = gradient().convert("RGBA")
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.save(tmp_path / "a.png", icc_profile=swapped_profile())
    pixels = seen(tmp_path / "a.png")
    assert pixels[0, 0].tolist() == [128, 128, 128]
    assert np.abs(pixels[:, 1:] - np.asarray(gradient()).astype(int)[:, 1:, [1, 0, 2]]).max() <= 2


def test_transparent_parts_can_be_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.png has transparent parts") as refusal:
        decode(cut_out(tmp_path / "a.png"), AlphaPolicy.refuse)
    assert "data.alpha=composite" in refusal.value.fix


def test_an_alpha_channel_that_hides_nothing_is_not_refused(tmp_path):
    gradient().convert("RGBA").save(tmp_path / "a.png")
    decoded = decode(tmp_path / "a.png", AlphaPolicy.refuse)
    assert (np.asarray(decoded.image) == np.asarray(gradient())).all()
    assert decoded.notes == ()


@pytest.mark.parametrize("alpha", [AlphaPolicy.composite, AlphaPolicy.varied, AlphaPolicy.mask])
def test_an_image_that_is_transparent_everywhere_is_refused(tmp_path, alpha):
    Image.new("RGBA", (16, 16), (*HIDDEN, 0)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png shows nothing"):
        decode(tmp_path / "a.png", alpha)
