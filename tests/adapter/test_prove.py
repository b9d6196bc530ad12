"""Every export is loaded back by diffusers, and what is wrong with it is named."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flux_lora.adapter.files import write_file, write_tensors
from flux_lora.adapter.layouts.diffusers import to_diffusers
from flux_lora.adapter.prove import prove
from flux_lora.adapter.tensors import Adapter, scaled
from flux_lora.config.choices import AdapterTargets
from flux_lora.errors import AdapterFileError
from tests.adapter.made import learned_adapter

NAME = "transformer_blocks.0.attn.to_k"


@pytest.fixture(scope="module")
def adapter() -> Adapter:
    return learned_adapter(alpha=6.0, targets=AdapterTargets.blocks_all)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_export_loads_completely_and_answers_the_same(
    adapter: Adapter, dtype: torch.dtype, tiny_flux: Path, tmp_path: Path
):
    file = write_file(adapter, tmp_path / "x.safetensors", metadata={"format": "pt"}, dtype=dtype)
    proof = prove(file, adapter, base=str(tiny_flux))
    assert (proof.layers, proof.unused_keys, proof.missing_layers) == (len(adapter.layers), 0, 0)
    assert proof.output_error < 1e-4
    assert proof.output_error_fp32 < (1e-4 if dtype is torch.float32 else 1e-2)


def test_a_bf16_base_gives_the_same_proof(adapter: Adapter, tiny_flux: Path, tmp_path: Path):
    file = write_file(adapter, tmp_path / "x.safetensors", metadata={}, dtype=torch.bfloat16)
    assert prove(file, adapter, base=str(tiny_flux), dtype=torch.bfloat16).output_error < 0.05


def written(tensors: dict[str, torch.Tensor], folder: Path) -> Path:
    write_tensors(tensors, folder / "x.safetensors", {})
    return folder / "x.safetensors"


def test_a_file_at_another_strength_is_caught(adapter: Adapter, tiny_flux: Path, tmp_path: Path):
    file = written(to_diffusers(scaled(adapter, 0.98), torch.float32), tmp_path)
    with pytest.raises(AdapterFileError, match="in the file is 2.00% off"):
        prove(file, adapter, base=str(tiny_flux))


def test_a_layer_left_out_is_named(adapter: Adapter, tiny_flux: Path, tmp_path: Path):
    rest = Adapter({name: layer for name, layer in adapter.layers.items() if name != NAME})
    file = written(to_diffusers(rest, torch.float32), tmp_path)
    with pytest.raises(AdapterFileError, match=f"did not load 1 trained layer.*{NAME}"):
        prove(file, adapter, base=str(tiny_flux))


def test_a_key_that_diffusers_leaves_out_is_named(adapter: Adapter, tiny_flux: Path, tmp_path: Path):
    extra = {f"text_encoder_2.{NAME}.lora_{side}.weight": torch.ones(2, 2) for side in "AB"}
    file = written(to_diffusers(adapter, torch.float32) | extra, tmp_path)
    with pytest.raises(AdapterFileError, match="does not use 2 key.*text_encoder_2"):
        prove(file, adapter, base=str(tiny_flux))


def test_an_adapter_that_learned_nothing_is_not_shipped(adapter: Adapter, tiny_flux: Path, tmp_path: Path):
    empty = Adapter({name: replace(layer, up=layer.up * 0) for name, layer in adapter.layers.items()})
    file = written(to_diffusers(empty, torch.float32), tmp_path)
    with pytest.raises(AdapterFileError, match="changes nothing"):
        prove(file, empty, base=str(tiny_flux))


def test_numbers_that_are_not_finite_are_not_shipped(adapter: Adapter, tiny_flux: Path, tmp_path: Path):
    layers = {name: replace(layer, up=layer.up / 0) for name, layer in adapter.layers.items()}
    file = written(to_diffusers(Adapter(layers), torch.float32), tmp_path)
    with pytest.raises(AdapterFileError, match="not finite"):
        prove(file, Adapter(layers), base=str(tiny_flux))
