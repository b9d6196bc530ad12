"""Datasets of the `datasets` library are samples, pictures byte for byte."""

import sys

import pytest

from flux_lora.config.material import SourceConfig
from flux_lora.data.sources.find import find
from flux_lora.data.sources.hub import Address, address_of, is_dataset
from flux_lora.data.sources.source import Wanted
from flux_lora.errors import DataError
from tests.data.sources.folders import lay_out, picture_bytes, read, said

ROWS = {
    "image": [{"bytes": picture_bytes(1), "path": "a.png"}, {"bytes": picture_bytes(2, "JPEG"), "path": None}],
    "text": ["a mug, blue", "a jug"],
}


def saved(folder, rows=ROWS, split=""):
    """A dataset as save_to_disk leaves it."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({name: datasets.Value("string") for name in rows} | {"image": datasets.Image()})
    table = datasets.Dataset.from_dict(rows, features=features)
    (datasets.DatasetDict({split: table}) if split else table).save_to_disk(str(folder))
    return folder


def test_an_address_is_id_revision_and_split():
    assert address_of("hub:owner/name") == Address("owner/name", "", "train")
    assert address_of("hub:owner/name@abc123#test[:5]") == Address("owner/name", "abc123", "test[:5]")


def test_only_the_prefix_or_what_datasets_saved_leads_to_datasets(tmp_path):
    assert is_dataset("hub:owner/name")
    assert not is_dataset("owner/name")
    (tmp_path / "state.json").write_text("{}")  # other programs keep their state under that name
    assert not is_dataset(str(tmp_path))


def test_a_folder_that_looks_like_an_id_never_goes_to_the_network():
    with pytest.raises(DataError, match="photos/ada is not a folder") as refusal:
        read("photos/ada")
    assert "hub:<owner>/<name>" in refusal.value.fix


def test_a_saved_dataset_is_read_with_its_pictures_byte_for_byte(tmp_path):
    found = read(saved(tmp_path / "set"), Wanted(unpacked=tmp_path / "kept"))
    assert said(found) == [("a.png", "a mug, blue"), ("picture.jpg", "a jug")]
    assert found.samples[0].image.read_bytes() == picture_bytes(1)


def test_a_split_is_named_behind_the_path(tmp_path):
    place = saved(tmp_path / "set", split="test")
    assert len(read(f"hub:{place}#test", Wanted(unpacked=tmp_path / "kept")).samples) == 2
    with pytest.raises(DataError, match="cannot be opened"):
        read(place)


def test_columns_are_named_by_the_recipe_and_missing_ones_refused(tmp_path):
    place = saved(tmp_path / "set", {"image": ROWS["image"], "words": ["a mug", "a jug"]})
    kept = Wanted(unpacked=tmp_path / "kept")
    assert said(find([SourceConfig(path=str(place), caption_column="words")], kept))[0] == ("a.png", "a mug")
    with pytest.raises(DataError, match="has no column 'text': it has image, words") as refusal:
        read(place, kept)
    assert "caption_column" in refusal.value.fix


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # datasets leaves a file open
def test_a_folder_of_pictures_can_be_read_through_datasets(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    lay_out(tmp_path / "set", "a.png")
    (tmp_path / "set" / "metadata.csv").write_text("file_name,text\na.png,a mug\n")
    found = read(f"hub:{tmp_path}/set", Wanted(unpacked=tmp_path / "kept"))
    assert said(found) == [("a.png", "a mug")]
    assert found.samples[0].image.read_bytes() == picture_bytes(0)


def test_without_the_library_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="datasets is not installed") as refusal:
        read("hub:owner/name")
    assert "flux_lora[datasets]" in refusal.value.fix
