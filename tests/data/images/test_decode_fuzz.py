"""Whatever bytes an image's file holds, it is read or refused by name: no crash, no hang, no flood of memory."""

import resource
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.images.decode import decode, upright_size
from flux_lora.errors import DataError
from tests.data.damaged_files import harms, set_byte, sound_files

LONGEST_SECONDS = 10
MOST_MEMORY_KIB = 3 * 2**20
"""Beyond what was there before: 200 megapixels, and two copies of them."""
FILES = sound_files()
pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of much that it then reads


def read(file: Path, content: bytes, alpha: AlphaPolicy) -> None:
    """Both readers, as the commands use them."""
    file.write_bytes(content)
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        width, height = upright_size(file)
        decoded = decode(file, alpha, cover=(width // 4 + 1, height // 4 + 1))
        assert decoded.image.mode == "RGB"
        assert decoded.opacity is None or decoded.opacity.size == decoded.image.size
        if decoded.reduced == 1:
            assert decoded.image.size == (width, height)
    except DataError as error:
        assert str(file) in error.problem
        assert error.fix
    assert time.process_time() - began < LONGEST_SECONDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MEMORY_KIB


def test_the_files_that_are_harmed_are_sound(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
        decoded = decode(tmp_path / name, AlphaPolicy.mask)
        assert decoded.image.size == upright_size(tmp_path / name), name


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(FILES)), harms(), st.sampled_from(AlphaPolicy))
def test_a_harmed_file_is_read_or_refused(tmp_path, name, harm, alpha):
    content = FILES[name]
    for each in harm:
        content = each(content)
    read(tmp_path / name, content, alpha)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", sorted(FILES))
@settings(max_examples=900, suppress_health_check=list(HealthCheck))
@given(harm=harms(), alpha=st.sampled_from(AlphaPolicy))
def test_a_kind_of_file_harmed_in_nine_hundred_ways_is_read_or_refused(tmp_path, name, harm, alpha):
    content = FILES[name]
    for each in harm:
        content = each(content)
    read(tmp_path / name, content, alpha)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(FILES)), st.integers(0, 64), st.binary(max_size=400))
def test_a_file_that_only_starts_like_an_image_is_read_or_refused(tmp_path, name, kept, rest):
    read(tmp_path / name, FILES[name][:kept] + rest, AlphaPolicy.composite)


@pytest.mark.skipif("plain.heic" not in FILES, reason="the extra 'heic' is not installed")
def test_a_heic_with_more_pixels_than_its_header_says_is_refused(tmp_path):
    file = tmp_path / "long.heic"
    file.write_bytes(set_byte(0.70703125, 0)(FILES["plain.heic"]))
    assert upright_size(file) == (24, 16)
    with pytest.raises(DataError, match="its header tells of 24 x 16 pixels, and 24 x 64 come"):
        decode(file, AlphaPolicy.composite)
