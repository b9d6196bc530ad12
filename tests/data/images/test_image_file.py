"""A file is opened only if it is an image of a known kind within limits, and an error says which limit."""

import struct
import sys
import time

import pytest

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.images import image_file as image_file
from flux_lora.data.images.decode import decode, upright_size
from flux_lora.errors import DataError
from tests.data.drawn_images import gradient
from tests.data.handmade_files import chunk


def refusal(file) -> DataError:
    """What both readers say of the file: they agree."""
    with pytest.raises(DataError) as of_pixels:
        decode(file, AlphaPolicy.composite)
    with pytest.raises(DataError) as of_size:
        upright_size(file)
    assert str(of_pixels.value) == str(of_size.value)
    assert str(file) in of_pixels.value.problem
    return of_pixels.value


def claiming(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is this large."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"x\x9cc\0\1\0\0\5\0\1")


@pytest.mark.parametrize("side", [14_143, 16_000, 20_001, 65_535])
def test_a_bomb_is_refused_by_the_limit_it_breaks_before_a_pixel_is_read(tmp_path, side):
    (tmp_path / "a.png").write_bytes(claiming(side, side))
    began = time.monotonic()
    assert "more than 200 megapixels" in refusal(tmp_path / "a.png").problem
    assert time.monotonic() - began < 1


def test_a_large_camera_s_image_is_within_the_limit(tmp_path):
    (tmp_path / "a.png").write_bytes(claiming(16_320, 12_240))
    assert upright_size(tmp_path / "a.png") == (16_320, 12_240)


def test_a_strip_is_refused_by_its_longer_side(tmp_path):
    (tmp_path / "a.png").write_bytes(claiming(65_536, 16))
    assert "65536 x 16, and no side may be longer than 65535" in refusal(tmp_path / "a.png").problem
    (tmp_path / "a.png").write_bytes(claiming(65_535, 16))
    assert upright_size(tmp_path / "a.png") == (65_535, 16)


def test_a_speck_is_refused_by_its_shorter_side(tmp_path):
    gradient(40, 15).save(tmp_path / "a.png")
    assert "40 x 15, and no side may be shorter than 16" in refusal(tmp_path / "a.png").problem
    gradient(40, 16).save(tmp_path / "b.png")
    assert upright_size(tmp_path / "b.png") == (40, 16)


def test_a_file_of_no_known_kind_is_named_with_the_kinds(tmp_path):
    (tmp_path / "a.jpg").write_text("a note to myself")
    assert "JPEG, PNG, WEBP, AVIF, TIFF, BMP, GIF, HEIC" in refusal(tmp_path / "a.jpg").problem


def test_a_program_for_a_printer_is_not_run(tmp_path):
    """Pillow would open it by what it holds, and hand it to Ghostscript."""
    gradient().save(tmp_path / "a.png", format="EPS")
    assert "none of JPEG" in refusal(tmp_path / "a.png").problem


def test_an_empty_file_is_said_to_be_empty(tmp_path):
    (tmp_path / "a.png").touch()
    assert refusal(tmp_path / "a.png").problem.endswith("a.png cannot be read: it is empty")


def test_a_missing_file_is_not_said_to_be_damaged(tmp_path):
    assert refusal(tmp_path / "a.png").fix == "see that the file is there and that you may read it"


def test_the_kind_is_told_by_what_a_file_holds_and_not_by_its_ending(tmp_path):
    gradient().save(tmp_path / "a.jpg", format="PNG")
    assert upright_size(tmp_path / "a.jpg") == (48, 32)


def test_without_pillow_heif_a_heic_image_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    image_file._register_heif.cache_clear()
    (tmp_path / "a.heic").write_bytes(struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + b"\0" * 100)
    try:
        assert "flux_lora[heic]" in refusal(tmp_path / "a.heic").fix
    finally:
        image_file._register_heif.cache_clear()


def test_an_avif_image_needs_no_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    image_file._register_heif.cache_clear()
    gradient().save(tmp_path / "a.avif")
    assert upright_size(tmp_path / "a.avif") == (48, 32)
    image_file._register_heif.cache_clear()


def test_a_png_s_size_is_told_without_reading_its_pixels(tmp_path):
    (tmp_path / "a.png").write_bytes(claiming(64, 64) + chunk(b"IEND", b""))
    assert upright_size(tmp_path / "a.png") == (64, 64)
    with pytest.raises(DataError, match="cannot be read"):
        decode(tmp_path / "a.png", AlphaPolicy.composite)
