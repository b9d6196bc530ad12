"""Writing and reading adapter files."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from flux_lora.adapter.dialects.module_tensors import to_checkpoint
from flux_lora.adapter.files import read_adapter, read_tensors, write_dialect, write_tensors
from flux_lora.adapter.layer_types import Adapter, LoRA, lora_delta
from flux_lora.errors import AdapterFileError


def small() -> Adapter:
    return Adapter({"transformer_blocks.0.attn.to_q": LoRA(torch.randn(2, 6), torch.randn(4, 2), 5.0)})


def test_the_library_reads_what_we_write(tmp_path: Path):
    tensors = {
        "scalar": torch.tensor(0.1, dtype=torch.float64),
        "bf16": torch.randn(3, 5).bfloat16(),
        "turned": torch.randn(4, 3).T,
        "bytes": torch.arange(5, dtype=torch.uint8),
        "none": torch.zeros(0),
    }
    write_tensors(tensors, tmp_path / "x.safetensors", {"word": 'ä\n"', "format": "pt"})
    with safe_open(tmp_path / "x.safetensors", "pt") as opened:
        assert opened.metadata() == {"word": 'ä\n"', "format": "pt"}
    after = read_tensors(tmp_path / "x.safetensors")
    assert set(after) == set(tensors)
    assert all(torch.equal(after[name], tensors[name]) and after[name].dtype == tensors[name].dtype for name in after)


def test_the_same_contents_give_the_same_bytes(tmp_path: Path):
    tensors = {"b": torch.ones(2), "a": torch.ones(3).half()}
    facts = {letter: letter for letter in "qwertyuiop"}
    write_tensors(tensors, tmp_path / "one", facts)
    write_tensors(dict(reversed(tensors.items())), tmp_path / "two", dict(reversed(facts.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_an_export_reads_back_as_the_same_change(tmp_path: Path):
    adapter = small()
    file = write_dialect(
        adapter, tmp_path / "new" / "x.safetensors", dialect="diffusers", metadata={}, dtype=torch.float32
    )
    after = read_adapter(file)
    for name, layer in adapter.layers.items():
        torch.testing.assert_close(lora_delta(after.layers[name]), lora_delta(layer))
    assert list(file.parent.iterdir()) == [file]


def test_a_checkpoint_reads_back_exactly(tmp_path: Path):
    adapter = small()
    write_tensors(to_checkpoint(adapter), tmp_path / "x", {})
    ((name, after),) = read_adapter(tmp_path / "x").layers.items()
    before = adapter.layers[name]
    assert torch.equal(after.down, before.down) and torch.equal(after.up, before.up) and after.alpha == before.alpha


def test_a_checkpoint_without_an_up_is_refused(tmp_path: Path):
    tensors = to_checkpoint(small())
    del tensors["transformer_blocks.0.attn.to_q.up"]
    write_tensors(tensors, tmp_path / "x", {})
    with pytest.raises(AdapterFileError, match="lacks 1 tensor"):
        read_adapter(tmp_path / "x")
