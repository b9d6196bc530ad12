"""An image that has not changed is not decoded again; one that has changed is, however much it looks the same."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.cache import EncodeOptions, encode_all
from flux_lora.data.cache.index import INDEX, IndexEntry, add_index_entry, prune_index, read_index, signature
from tests.data.colours import MeanColours, grow_old, made_by, planned, three_photos
from tests.data.drawn_images import gradient


@pytest.fixture
def photos(tmp_path) -> Path:
    return three_photos(tmp_path / "photos")


def heard(photos: Path, folder: Path, wanted: EncodeOptions | None = None) -> list[str]:
    """Names of the images that were decoded."""
    names: list[str] = []
    encode_all(
        planned(photos),
        MeanColours().encoders(),
        folder,
        wanted=wanted,
        progress=lambda _done, _all, name: names.append(name),
    )
    return [name for name in names if name.endswith(".png")]


def test_images_that_have_not_changed_are_not_opened(photos, tmp_path):
    made_by(MeanColours(), photos, tmp_path / "cache")
    assert heard(photos, tmp_path / "cache") == []


def test_an_image_that_was_touched_is_decoded_and_found_by_its_pixels(photos, tmp_path):
    made_by(MeanColours(), photos, tmp_path / "cache")
    then = time.time_ns() - 60 * 10**9
    os.utime(photos / "1.png", ns=(then, then))
    colours = MeanColours()
    assert heard(photos, tmp_path / "cache") == ["1.png"]
    made_by(colours, photos, tmp_path / "cache")
    assert colours.asked == []
    assert heard(photos, tmp_path / "cache") == []


def test_another_image_put_in_its_place_with_the_same_size_and_date_is_noticed(photos, tmp_path):
    gradient(48, 32, seed=0).save(photos / "0.bmp")
    (photos / "0.png").unlink()
    grow_old(photos / "0.bmp")
    before = made_by(MeanColours(), photos, tmp_path / "cache").encoded[0]
    seen = (photos / "0.bmp").stat()
    gradient(48, 32, seed=5).save(photos / "0.bmp")
    os.utime(photos / "0.bmp", ns=(seen.st_atime_ns, seen.st_mtime_ns))
    now = (photos / "0.bmp").stat()
    assert (now.st_size, now.st_mtime_ns) == (seen.st_size, seen.st_mtime_ns)
    after = made_by(MeanColours(), photos, tmp_path / "cache").encoded[0]
    assert not before.latent.equal(after.latent)


def test_another_way_to_treat_transparency_decodes_anew(photos, tmp_path):
    made_by(MeanColours(), photos, tmp_path / "cache")
    assert len(heard(photos, tmp_path / "cache", EncodeOptions(alpha=AlphaPolicy.varied))) == 3


def test_a_file_written_a_moment_ago_is_not_trusted_yet(tmp_path):
    file = tmp_path / "new.png"
    gradient().save(file)
    assert signature([file], "settings") == ""
    grow_old(file)
    assert signature([file], "settings") != signature([file], "others") != ""
    assert signature([tmp_path / "not there.png"]) == ""


@given(st.integers(0, 200))
@settings(max_examples=60)
def test_an_index_cut_short_anywhere_forgets_but_never_invents(tmp_path_factory, end: int):
    folder = tmp_path_factory.mktemp("index")
    written = {
        "a" * 32: IndexEntry("latent-1"),
        "b" * 32: IndexEntry("latent-2", "mask-2"),
        "c" * 32: IndexEntry("latent-3"),
    }
    for each, glance in written.items():
        add_index_entry(folder, each, glance)
    (folder / INDEX).write_bytes((folder / INDEX).read_bytes()[:end])
    assert read_index(folder).items() <= written.items()
    add_index_entry(folder, "d" * 32, IndexEntry("latent-4"))
    assert read_index(folder)["d" * 32] == IndexEntry("latent-4")


@pytest.mark.parametrize("line", [b"\xff\xfe", b"5", b'"abc"', b"[1, 2, 3]", b'["a", "b"]', b"null", b'{"a": 1}'])
def test_a_foreign_line_in_the_index_is_passed_over(tmp_path, line):
    add_index_entry(tmp_path, "a", IndexEntry("latent-1"))
    with (tmp_path / INDEX).open("ab") as index:
        index.write(b"\n" + line)
    assert read_index(tmp_path) == {"a": IndexEntry("latent-1")}


def test_what_came_to_entries_that_are_gone_is_forgotten(tmp_path):
    add_index_entry(tmp_path, "a", IndexEntry("latent-1"))
    add_index_entry(tmp_path, "b", IndexEntry("latent-2"))
    prune_index(tmp_path, {"latent-2"})
    assert read_index(tmp_path) == {"b": IndexEntry("latent-2")}
