"""Datasets of the `datasets` library are samples, images byte for byte."""

import json
import os
import subprocess
import sys

import pytest

from flux_lora.config.data import SourceConfig
from flux_lora.data.sources.find import find
from flux_lora.data.sources.hub import Address, address_of, is_dataset
from flux_lora.data.sources.source import SourceOptions
from flux_lora.errors import DataError
from tests.data.sources.folders import image_bytes, lay_out, read, said
from tests.data.sources.local_hub import BROKEN, COMMIT, hub

ROWS = {
    "image": [{"bytes": image_bytes(1), "path": "a.png"}, {"bytes": image_bytes(2, "JPEG"), "path": None}],
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


def test_a_saved_dataset_is_read_with_its_images_byte_for_byte(tmp_path):
    found = read(saved(tmp_path / "set"), SourceOptions(unpacked=tmp_path / "kept"))
    assert said(found) == [("a.png", "a mug, blue"), ("picture.jpg", "a jug")]
    assert found.samples[0].image.read_bytes() == image_bytes(1)


def test_a_split_is_named_behind_the_path(tmp_path):
    place = saved(tmp_path / "set", split="test")
    assert len(read(f"hub:{place}#test", SourceOptions(unpacked=tmp_path / "kept")).samples) == 2
    with pytest.raises(DataError, match="cannot be opened"):
        read(place)


def test_columns_are_named_by_the_recipe_and_missing_ones_refused(tmp_path):
    place = saved(tmp_path / "set", {"image": ROWS["image"], "words": ["a mug", "a jug"]})
    kept = SourceOptions(unpacked=tmp_path / "kept")
    assert said(find([SourceConfig(path=str(place), caption_column="words")], kept))[0] == ("a.png", "a mug")
    with pytest.raises(DataError, match="has no column 'text': it has image, words") as refusal:
        read(place, kept)
    assert "caption_column" in refusal.value.fix


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # datasets leaves a file open
def test_a_folder_of_images_can_be_read_through_datasets(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    lay_out(tmp_path / "set", "a.png")
    (tmp_path / "set" / "metadata.csv").write_text("file_name,text\na.png,a mug\n")
    found = read(f"hub:{tmp_path}/set", SourceOptions(unpacked=tmp_path / "kept"))
    assert said(found) == [("a.png", "a mug")]
    assert found.samples[0].image.read_bytes() == image_bytes(0)


ASKS = """
import json, sys
from pathlib import Path
from flux_lora.errors import DataError
from flux_lora.data.sources.source import SourceOptions
from tests.data.sources.folders import read, said
told = {}
for place in sys.argv[2:]:
    try:
        told[place] = said(read(place, SourceOptions(unpacked=Path(sys.argv[1]))))
    except DataError as refusal:
        told[place] = refusal.problem
print(json.dumps(told))
"""
NOW, PINNED, NO_SPLIT = "hub:owner/mugs", f"hub:owner/mugs@{COMMIT}#train", "hub:owner/mugs#test"
NOWHERE, STOPS = "hub:owner/none", f"hub:{BROKEN}"


def ask(folder, *places):
    """What these lead to on a Hub on this machine, and what it was asked; in a process that is not offline."""
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pytest.importorskip("datasets")
    parquet.write_table(pyarrow.table({**ROWS}), folder / "train.parquet")
    files = {"train.parquet": (folder / "train.parquet").read_bytes()}
    with hub({"owner/mugs": files, BROKEN: files}) as (address, asked):
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "0"}
        program = [sys.executable, "-c", ASKS, str(folder / "kept"), *places]
        run = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout), asked


def test_a_dataset_of_the_hub_is_fetched_once_and_read_and_what_is_not_there_is_said(tmp_path):
    told, asked = ask(tmp_path, NOW, PINNED, NO_SPLIT, NOWHERE)
    assert told[NOW] == told[PINNED] == [["a.png", "a mug, blue"], ["picture.jpg", "a jug"]]
    assert asked.count(f"GET /datasets/owner/mugs/resolve/{COMMIT}/train.parquet") == 1
    assert "(split test) cannot be opened: Unknown split" in told[NO_SPLIT]
    assert "owner/none (split train) cannot be opened: Dataset 'owner/none' doesn't exist" in told[NOWHERE]


@pytest.mark.slow
def test_a_connection_that_breaks_is_said(tmp_path):
    told, _ = ask(tmp_path, STOPS)
    assert f"{BROKEN} (split train) cannot be opened: peer closed connection" in told[STOPS]


def test_without_the_library_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="datasets is not installed") as refusal:
        read("hub:owner/name")
    assert "flux_lora[datasets]" in refusal.value.fix
