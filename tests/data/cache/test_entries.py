"""An entry under its own name is whole, and damage is seen."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flux_lora.data.cache.entries import entry_file, entry_name, has_entry, problem_of, read_entry, write_entry
from flux_lora.errors import RunError

TENSORS = {"t5": torch.arange(6.0).view(1, 2, 3).bfloat16(), "pooled": torch.ones(1, 3)}


@pytest.fixture
def written(tmp_path) -> Path:
    write_entry(tmp_path, "text-a", TENSORS)
    return entry_file(tmp_path, "text-a")


def test_what_was_written_is_read_back(written, tmp_path):
    found = read_entry(tmp_path, "text-a")
    assert torch.equal(found["t5"], TENSORS["t5"]) and found["t5"].dtype is torch.bfloat16
    assert torch.equal(found["pooled"], TENSORS["pooled"])
    assert problem_of(written) == ""
    assert [file.name for file in tmp_path.iterdir()] == [written.name]


def test_everything_a_name_is_made_of_counts_and_so_does_where_it_ends():
    names = [
        entry_name("text", "ab", "c"),
        entry_name("text", "a", "bc"),
        entry_name("text", "abc"),
        entry_name("mask", "ab", "c"),
    ]
    assert len(set(names)) == 4
    assert entry_name("text", "ab", "c") == names[0]
    assert entry_name("text", "a lone surrogate \ud800")


@pytest.mark.parametrize("end", [0, 7, 40, -1])
def test_an_entry_cut_short_is_not_there(written, tmp_path, end):
    written.write_bytes(written.read_bytes()[:end])
    assert not has_entry(tmp_path, "text-a")
    assert problem_of(written).startswith("cannot be read")
    with pytest.raises(RunError, match="text-a"):
        read_entry(tmp_path, "text-a")


def test_one_flipped_bit_is_seen_when_every_number_is_looked_at(written, tmp_path):
    content = bytearray(written.read_bytes())
    content[-3] ^= 1
    written.write_bytes(content)
    assert has_entry(tmp_path, "text-a")
    assert problem_of(written) == "does not hold the numbers that were written"


def test_numbers_that_are_not_finite_are_seen(tmp_path):
    write_entry(tmp_path, "text-b", {"t5": torch.tensor([torch.nan])})
    assert problem_of(entry_file(tmp_path, "text-b")) == "holds numbers that are not finite"


def test_an_entry_of_an_older_version_is_told_apart(tmp_path):
    save_file(TENSORS, entry_file(tmp_path, "text-c"))
    assert "older version" in problem_of(entry_file(tmp_path, "text-c"))


def test_a_disk_that_takes_nothing_is_named_with_a_way_out(tmp_path):
    (tmp_path / "text-d.safetensors").mkdir()  # a file cannot take a folder's place
    with pytest.raises(RunError, match=r"text-d\.safetensors cannot be written"):
        write_entry(tmp_path, "text-d", TENSORS)
    assert not list(tmp_path.glob("*.partial"))
