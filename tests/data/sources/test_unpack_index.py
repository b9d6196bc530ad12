"""A shard is unpacked once; the next run has its rows from memory, as long as nothing of them has changed."""

from pathlib import Path

import pytest

from flux_lora.data.sources.shards import read_shard
from flux_lora.data.sources.source import Columns
from flux_lora.data.sources.unpack import INDEX, unpack_file, unpack_image
from tests.data.sources.folders import image_bytes
from tests.data.sources.test_shards import write_shard

COLUMNS = Columns()
PARTS = [
    ("1.png", image_bytes(1)),
    ("1.json", b'{"caption": ["a mug", "a caf\\u00e9"]}'),
    ("1.mask.png", image_bytes(255)),
    ("1.cls", b"3"),
    ("2.txt", b"alone"),
]


class Reader:
    """Reads shards, and knows how often."""

    def __init__(self):
        self.times = 0

    def __call__(self, file, columns):
        self.times += 1
        return read_shard(file, columns)


@pytest.fixture
def old_enough(monkeypatch):
    """Tests do not wait until the clock has surely gone on."""
    monkeypatch.setattr("flux_lora.data.sources.unpack.SETTLED_NS", 0)


@pytest.fixture
def shard(tmp_path):
    return write_shard(tmp_path / "x.tar", PARTS)


@pytest.mark.usefixtures("old_enough")
def test_what_is_remembered_is_what_was_read(tmp_path, shard):
    reader = Reader()
    first, again = (unpack_file(shard, reader, COLUMNS, tmp_path / "kept") for _ in range(2))
    assert again == first
    assert [(row.texts, row.problem) for row in first] == [
        (("a mug", "a caf\u00e9"), ""),
        ((), "has no image among its parts (txt)"),
    ]
    assert reader.times == 1


@pytest.mark.usefixtures("old_enough")
def test_a_shard_that_has_changed_is_read_again(tmp_path, shard):
    reader = Reader()
    assert len(unpack_file(shard, reader, COLUMNS, tmp_path / "kept")) == 2
    write_shard(shard, [*PARTS, ("3.png", image_bytes(3))])
    assert len(unpack_file(shard, reader, COLUMNS, tmp_path / "kept")) == 3
    assert len(unpack_file(shard, reader, Columns(caption="words"), tmp_path / "kept")) == 3
    assert reader.times == 3


@pytest.mark.usefixtures("old_enough")
@pytest.mark.parametrize("name", ["1.png", "1_mask.png"])
@pytest.mark.parametrize("left", [None, b"half"])
def test_an_image_that_is_gone_or_not_whole_is_unpacked_again(tmp_path, shard, name, left):
    unpack_file(shard, read_shard, COLUMNS, tmp_path / "kept")
    (kept,) = (tmp_path / "kept").rglob(name)
    kept.unlink()
    if left:
        kept.write_bytes(left)
    unpack_file(shard, read_shard, COLUMNS, tmp_path / "kept")
    assert kept.read_bytes() in (image_bytes(1), image_bytes(255))


@pytest.mark.usefixtures("old_enough")
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[[1]]", b"7", b'["12345678"]', b"\xff", b"[[[], 1, 2, 3, 4, 5, 6, 7]]"]
)
def test_a_memory_that_is_damaged_is_made_again(tmp_path, shard, content):
    reader = Reader()
    first = unpack_file(shard, reader, COLUMNS, tmp_path / "kept")
    (index,) = (tmp_path / "kept" / INDEX).iterdir()
    index.write_bytes(content)
    assert unpack_file(shard, reader, COLUMNS, tmp_path / "kept") == first
    assert unpack_file(shard, reader, COLUMNS, tmp_path / "kept") == first
    assert reader.times == 2


@pytest.mark.usefixtures("old_enough")
def test_a_shard_that_could_not_be_read_to_its_end_is_tried_again(tmp_path, shard):
    shard.write_bytes(shard.read_bytes()[:2000])
    reader = Reader()
    for times in (1, 2):
        assert "cannot be read" in unpack_file(shard, reader, COLUMNS, tmp_path / "kept")[-1].problem
        assert reader.times == times


def test_a_shard_written_just_now_is_not_yet_trusted_to_be_unchanged(tmp_path, shard):
    reader = Reader()
    for times in (1, 2):
        unpack_file(shard, reader, COLUMNS, tmp_path / "kept")
        assert reader.times == times
    assert not (tmp_path / "kept" / INDEX).exists()


def test_an_image_without_a_name_keeps_the_name_that_captions_lie_beside(tmp_path):
    assert Path(unpack_image(image_bytes(1), "", tmp_path).path).name == "picture.png"
