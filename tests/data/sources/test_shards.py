"""WebDataset tars are read, and no tar can write or fill what it should not."""

import io
import json
import tarfile
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.config.choices import MaskMode
from flux_lora.data.sources.shards import read_shard
from flux_lora.data.sources.source import Columns, SourceOptions
from flux_lora.errors import DataError
from tests.data.sources.folders import image_bytes, read, said, spoken_of, the_only


def write_shard(file, parts):
    """A tar of (name, bytes)."""
    with tarfile.open(file, "w") as shard:
        for name, content in parts:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    return file


def kept_in(tmp_path):
    return SourceOptions(unpacked=tmp_path / "kept")


def test_a_shard_is_samples_by_the_names_up_to_the_first_dot(tmp_path):
    shard = write_shard(
        tmp_path / "x.tar",
        [
            ("./0001.png", image_bytes(1)),
            ("./0001.txt", "a café,\n blue".encode("cp1252")),
            ("./0002.JPG", image_bytes(2, "JPEG")),
            ("./0002.json", json.dumps({"caption": ["a jug", "a TOK jug"]}).encode()),
            ("./0003.png", image_bytes(3)),
            ("./0003.mask.png", image_bytes(255)),
            ("./._0003.png", b"macOS"),
        ],
    )
    found = read(shard, kept_in(tmp_path))
    assert [sample.captions for sample in found.samples] == [("a café, blue",), ("a jug", "a TOK jug"), ()]
    assert [sample.image.name for sample in found.samples] == ["0001.png", "0002.jpg", "0003.png"]
    assert [sample.encoding for sample in found.samples] == ["cp1252", "utf-8", ""]
    assert found.samples[0].image.read_bytes() == image_bytes(1)
    assert found.samples[2].mask and found.samples[2].mask.read_bytes() == image_bytes(255)
    assert found.samples[0].caption_file == shard
    assert "1 of 3 images have masks; masked loss on" in found.remarks


def test_masks_of_a_shard_can_be_switched_off(tmp_path):
    shard = write_shard(tmp_path / "x.tar", [("1.png", image_bytes(1)), ("1.mask.png", image_bytes(2))])
    assert read(shard, SourceOptions(unpacked=tmp_path / "kept", masks=MaskMode.off)).samples[0].mask is None


def test_images_are_named_by_content_and_written_once(tmp_path):
    parts = [("a/1.png", image_bytes(1)), ("b/1.png", image_bytes(2))]
    shard = write_shard(tmp_path / "x.tar", parts)
    first, second = (sample.image for sample in read(shard, kept_in(tmp_path)).samples)
    written = first.stat().st_mtime_ns
    assert first != second
    assert [sample.image for sample in read(shard, kept_in(tmp_path)).samples] == [first, second]
    assert first.stat().st_mtime_ns == written
    assert not list((tmp_path / "kept").rglob("*.partial"))


LEADING_OUT = ["../../evil.png", "/tmp/evil.png", "a/../../evil.png", "C:\\evil.png", f"{'x' * 90}.png"]


@pytest.mark.parametrize("name", LEADING_OUT, ids=["up", "root", "down_and_up", "drive", "long"])
def test_no_name_leads_out_of_the_cache(tmp_path, name):
    shard = write_shard(tmp_path / "x.tar", [(name, image_bytes(1))])
    found = read(shard, kept_in(tmp_path))
    assert [tmp_path / "kept" in sample.image.parents for sample in found.samples] == [True]
    assert list(tmp_path.rglob("*.png")) == [found.samples[0].image]


def test_links_in_a_shard_are_not_followed(tmp_path):
    (tmp_path / "secret.txt").write_text("a secret")
    write_shard(tmp_path / "x.tar", [("1.png", image_bytes(1))])
    with tarfile.open(tmp_path / "x.tar", "a") as shard:
        link = tarfile.TarInfo("1.txt")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.txt")
        shard.addfile(link)
    assert said(read(tmp_path / "x.tar", kept_in(tmp_path))) == [("1.png", "")]


def test_a_part_over_the_limit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("flux_lora.data.sources.shards.MOST_IMAGE_BYTES", 2**20)
    shard = tmp_path / "x.tar"
    with tarfile.open(shard, "w") as opened:
        for number, size in enumerate((2**20 + 1, 100)):
            member = tarfile.TarInfo(f"{number}.bmp")
            member.size = size
            opened.addfile(member, io.BytesIO(b"BM" + b"\0" * size))
    found = read(shard, kept_in(tmp_path))
    assert [sample.image.name for sample in found.samples] == ["1.bmp"]
    assert the_only(found).problem == "sample 0 has a bmp of more than 1 MiB"


def test_a_sample_without_an_image_and_one_with_a_damaged_text_are_errors(tmp_path):
    parts = [("1.txt", b"alone"), ("2.png", image_bytes(2)), ("2.txt", b"\x81"), ("3.png", image_bytes(3))]
    shard = write_shard(tmp_path / "x.tar", [*parts, ("4.png", image_bytes(4)), ("4.json", b"{")])
    found = read(shard, kept_in(tmp_path))
    assert said(found) == [("3.png", "")]
    assert [finding.problem for finding in found.findings] == [
        "sample 1 has no image among its parts (txt)",
        "sample 2 has a txt that is no text in utf-8, utf-16 or cp1252",
        "sample 4 has a json that is not JSON",
    ]


def test_parts_that_are_not_read_are_listed(tmp_path):
    parts = [
        ("1.png", image_bytes(1)),
        ("1.cls", b"3"),
        ("1.jpg", b"x"),
        ("2.png", image_bytes(2)),
        ("2.cls", b"4"),
    ]
    found = read(write_shard(tmp_path / "x.tar", parts), kept_in(tmp_path))
    assert spoken_of(found) == [("x.tar", "ignored-file")]
    assert ".cls (2), .jpg (1)" in found.findings[0].problem


def test_a_shard_that_is_cut_short_says_after_which_sample(tmp_path):
    shard = write_shard(tmp_path / "x.tar", [(f"{number}.bmp", b"BM" + bytes(5000)) for number in range(3)])
    shard.write_bytes(shard.read_bytes()[:9000])
    found = read(shard, kept_in(tmp_path))
    assert [sample.image.name for sample in found.samples] == ["0.bmp"]
    assert the_only(found).problem.startswith("cannot be read after 0 (")


def test_a_shard_of_a_range_that_is_not_there_is_named(tmp_path):
    write_shard(tmp_path / "0.tar", [("1.png", image_bytes(1))])
    with pytest.raises(DataError, match=r"1\.tar is not there"):
        read(f"{tmp_path}/{{0..1}}.tar", kept_in(tmp_path))


def test_a_file_that_is_no_tar_is_refused(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"PK\x03\x04" * 300)
    with pytest.raises(DataError, match=r"holds no image that can be read: cannot be read"):
        read(tmp_path / "x.tar", kept_in(tmp_path))


@pytest.mark.parametrize(("name", "way"), [("x.tar.gz", "gunzip"), ("x.tgz", "gunzip"), ("x.tar.zst", "unzstd")])
def test_a_compressed_shard_is_refused_with_the_way_to_unpack_it(tmp_path, name, way):
    (tmp_path / name).write_bytes(b"\x1f\x8b")
    with pytest.raises(DataError, match="no table or shard") as refusal:
        read(tmp_path / name, kept_in(tmp_path))
    assert refusal.value.fix == f"unpack it first: {way} {tmp_path / name}"


def test_a_caption_written_beside_the_kept_image_speaks_for_it(tmp_path):
    shard = write_shard(tmp_path / "x.tar", [("1.png", image_bytes(1))])
    sample = read(shard, kept_in(tmp_path)).samples[0]
    assert sample.caption_file
    sample.caption_file.write_text("a mug")
    assert said(read(shard, kept_in(tmp_path))) == [("1.png", "a mug")]


@cache
def whole_shard(folder):
    parts = [("1.png", image_bytes(1)), ("1.txt", b"a mug"), ("2.png", image_bytes(2)), ("2.json", b"{}")]
    return write_shard(folder / "whole.tar", parts).read_bytes()


@given(changes=st.lists(st.tuples(st.integers(0, 5119), st.integers(0, 255)), min_size=1, max_size=8))
@settings(max_examples=100)
def test_a_damaged_shard_is_rows_or_problems(tmp_path_factory, changes):
    damage_and_read(tmp_path_factory.getbasetemp(), changes)


@pytest.mark.slow
@given(changes=st.lists(st.tuples(st.integers(0, 5119), st.integers(0, 255)), min_size=1, max_size=30))
@settings(max_examples=5_000)
def test_a_damaged_shard_is_rows_or_problems_at_length(tmp_path_factory, changes):
    damage_and_read(tmp_path_factory.getbasetemp(), changes)


def damage_and_read(folder, changes):
    content = bytearray(whole_shard(folder))
    for place, value in changes:
        content[place % len(content)] = value
    shard = folder / "damaged.tar"
    shard.write_bytes(bytes(content))
    for row in read_shard(shard, Columns()):
        assert row.problem or row.image is not None
