"""Every export is read back as its users' programs will, and what is wrong with it is named."""

import re
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torch import Tensor

from flux_lora.adapter.files import write_dialect
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.adapter.proof.diffusers_load import LoadedBase
from flux_lora.adapter.proof.loader_check import BY_TABLE, check_not_empty
from flux_lora.adapter.proof.prove import LOADED, prove
from flux_lora.errors import AdapterFileError
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.load import load_transformer
from tests.adapter.example_adapters import learned_adapter

K = "transformer_blocks.0.attn.to_k"
Q = "transformer_blocks.0.attn.to_q"
FINAL = "norm_out.linear"
Tensors = dict[str, Tensor]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_export_is_read_whole_by_all_and_answers_the_same(
    adapter: Adapter, dtype: torch.dtype, base: LoadedBase, tmp_path: Path
):
    file = write_dialect(
        adapter, tmp_path / "x.safetensors", dialect="diffusers", metadata={"format": "pt"}, dtype=dtype
    )
    proof = prove(file, adapter, base=base)
    ways = {each.reader: each.how for each in proof.readers}
    assert ways == dict.fromkeys(["diffusers 0.32", "ComfyUI", "Forge"], BY_TABLE) | {"diffusers": LOADED}
    seen = {(each.keys, each.unused, each.modules, each.missing) for each in proof.readers}
    assert seen == {(2 * len(adapter.deltas), 0, len(adapter.deltas), 0)}
    assert proof.output_error is not None and proof.output_error < 1e-4
    assert proof.output_error_fp32 is not None
    assert proof.output_error_fp32 < (1e-4 if dtype is torch.float32 else 1e-2)


def test_every_layer_outside_the_blocks_is_read_too(whole: Adapter, base: LoadedBase, tmp_path: Path):
    file = write_dialect(whole, tmp_path / "x.safetensors", dialect="diffusers", metadata={}, dtype=torch.bfloat16)
    assert prove(file, whole, base=base).worst.modules == len(whole.deltas)


def test_a_proof_names_size_and_digest(adapter: Adapter, tmp_path: Path):
    file = write_dialect(adapter, tmp_path / "x.safetensors", dialect="diffusers", metadata={}, dtype=torch.bfloat16)
    proof = prove(file, adapter)
    assert (proof.bytes, proof.sha256) == (file.stat().st_size, sha256(file.read_bytes()).hexdigest())


def test_a_bf16_base_gives_the_same_proof(adapter: Adapter, tiny_flux: Path, tmp_path: Path):
    file = write_dialect(adapter, tmp_path / "x.safetensors", dialect="diffusers", metadata={}, dtype=torch.bfloat16)
    base = LoadedBase(
        family=Flux1(), transformer=load_transformer(str(tiny_flux), torch.bfloat16), dtype=torch.bfloat16
    )
    error = prove(file, adapter, base=base).output_error
    assert error is not None and error < 0.05


def test_without_a_base_the_key_tables_are_followed_and_nothing_answers(adapter: Adapter, tmp_path: Path):
    file = write_dialect(adapter, tmp_path / "x.safetensors", dialect="diffusers", metadata={}, dtype=torch.float16)
    proof = prove(file, adapter)
    assert {each.how for each in proof.readers} == {BY_TABLE}
    assert proof.output_error is None


@pytest.mark.parametrize("dialect", ["kohya", "comfyui", "lycoris", "bfl", "peft"])
def test_other_dialects_are_read_by_the_programs_they_are_for(
    dialect: str, adapter: Adapter, base: LoadedBase, tmp_path: Path
):
    file = write_dialect(adapter, tmp_path / "x.safetensors", dialect=dialect, metadata={}, dtype=torch.bfloat16)
    readers = {each.reader for each in prove(file, adapter, dialect=dialect, base=base).readers}
    expected = {
        "kohya": {"sd-scripts", "ComfyUI", "Forge", "diffusers"},
        "comfyui": {"ComfyUI", "Forge", "diffusers"},
        "lycoris": {"ComfyUI", "Forge"},
        "bfl": {"flux_lora"},
        "peft": {"flux_lora"},
    }
    assert readers == expected[dialect]


def test_diffusers_loads_a_kohya_file_where_its_widths_are_not_fixed(
    adapter: Adapter, base: LoadedBase, tmp_path: Path
):
    double = Adapter({name: layer for name, layer in adapter.deltas.items() if not name.startswith("single")})
    file = write_dialect(double, tmp_path / "x.safetensors", dialect="kohya", metadata={}, dtype=torch.float32)
    proof = prove(file, double, dialect="kohya", base=base)
    assert {each.reader: each.how for each in proof.readers}["diffusers"] == LOADED
    assert proof.output_error is not None and proof.output_error < 1e-4


@pytest.mark.parametrize("dialect", ["kohya", "comfyui", "xlabs"])
def test_a_part_of_q_k_and_v_is_proven_where_they_share_a_matrix(
    dialect: str, adapter: Adapter, base: LoadedBase, tmp_path: Path
):
    part = {name: each for name, each in adapter.deltas.items() if name.endswith((".attn.to_q", ".attn.to_v"))}
    double = Adapter({name: each for name, each in part.items() if not name.startswith("single")})
    file = write_dialect(double, tmp_path / "x.safetensors", dialect=dialect, metadata={}, dtype=torch.float32)
    proof = prove(file, double, dialect=dialect, base=base)
    assert {each.reader: each.how for each in proof.readers}["diffusers"] == LOADED
    assert {each.modules for each in proof.readers} == {len(double.deltas)}


def test_modules_that_flux1_has_not_are_refused_as_another_model_s(adapter: Adapter, tmp_path: Path):
    qwen = Adapter({"transformer_blocks.59.attn.to_q": adapter.deltas[Q]})
    file = write_dialect(qwen, tmp_path / "x.safetensors", dialect="diffusers", metadata={}, dtype=torch.float32)
    with pytest.raises(AdapterFileError, match=r"FLUX.1 has no transformer_blocks.59.attn.to_q") as caught:
        prove(file, qwen)
    assert "Qwen-Image" in caught.value.fix


def test_the_module_with_numbers_that_are_not_finite_is_named(adapter: Adapter):
    layer = adapter.layers[Q]
    with pytest.raises(AdapterFileError, match=f"{re.escape(Q)} holds numbers that are not finite"):
        check_not_empty(Adapter({**adapter.deltas, Q: LoRA(layer.down * torch.nan, layer.up, layer.alpha)}))


def test_loading_the_final_layer_alone_warns_of_nothing(
    whole: Adapter, base: LoadedBase, tmp_path: Path, recwarn: pytest.WarningsRecorder
):
    final = Adapter({name: each for name, each in whole.deltas.items() if not name.startswith("single")})
    file = write_dialect(final, tmp_path / "x.safetensors", dialect="diffusers", metadata={}, dtype=torch.float32)
    prove(file, final, base=base)
    assert not [each for each in recwarn if "PEFT" in str(each.message)]


def test_what_a_program_leaves_out_of_a_dialect_is_said(whole: Adapter, base: LoadedBase, tmp_path: Path):
    file = write_dialect(whole, tmp_path / "x.safetensors", dialect="comfyui", metadata={}, dtype=torch.float32)
    proof = prove(file, whole, dialect="comfyui", base=base)
    assert len(proof.gaps) == 1
    assert proof.gaps[0].startswith("diffusers leaves 10 modules of this dialect out, first ")
    assert {each.reader: each.unused for each in proof.readers} == {"ComfyUI": 0, "Forge": 0, "diffusers": 30}


def test_several_ranks_are_not_promised_to_an_older_diffusers(base: LoadedBase, tmp_path: Path):
    mixed = Adapter({**learned_adapter(rank=4).deltas, Q: learned_adapter(rank=2).deltas[Q]})
    file = write_dialect(mixed, tmp_path / "x.safetensors", dialect="diffusers", metadata={}, dtype=torch.bfloat16)
    proof = prove(file, mixed, base=base)
    assert "diffusers 0.32" not in {each.reader for each in proof.readers}
    assert proof.gaps == ("diffusers 0.32 stops at adapters of several ranks",)
