"""A file can be told more facts, and stays what it was."""

from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from flux_lora.adapter.files import write_tensors
from flux_lora.adapter.header import read_header
from flux_lora.adapter.metadata import add_metadata
from flux_lora.errors import AdapterFileError

NAME = "transformer.transformer_blocks.0.attn.to_q"
TENSORS = {f"{NAME}.lora_A.weight": torch.randn(4, 6), f"{NAME}.lora_B.weight": torch.randn(8, 4).bfloat16()}


def body(file: Path) -> bytes:
    raw = file.read_bytes()
    return raw[8 + int.from_bytes(raw[:8], "little") :]


def test_new_facts_join_the_old_ones_and_no_tensor_changes(tmp_path: Path):
    file = tmp_path / "x.safetensors"
    write_tensors(TENSORS, file, {"format": "pt", "flux_lora.base": "mini"})
    before = body(file)
    known = add_metadata(file, {"flux_lora.proof": "[]", "modelspec.author": ""})
    told = read_header(file).metadata
    assert body(file) == before
    assert all(torch.equal(tensor, TENSORS[key]) for key, tensor in load_file(file).items())
    assert (told["format"], told["flux_lora.base"], told["flux_lora.proof"]) == ("pt", "mini", "[]")
    assert "modelspec.author" not in told and not list(tmp_path.glob("*.partial"))
    assert known.sha256 == sha256(file.read_bytes()).hexdigest()


def test_the_hash_it_tells_is_the_one_that_galleries_compute(tmp_path: Path):
    file = tmp_path / "x.safetensors"
    write_tensors(TENSORS, file, {})
    known = add_metadata(file, {})
    told = read_header(file).metadata
    assert told["sshs_model_hash"] == known.tensors == sha256(body(file)).hexdigest()
    assert told["modelspec.hash_sha256"] == f"0x{known.tensors}"
    assert told["sshs_legacy_hash"] == known.legacy


def test_telling_the_same_again_changes_no_byte(tmp_path: Path):
    file = tmp_path / "x.safetensors"
    write_tensors(TENSORS, file, {"ss_output_name": "mug"})
    once = add_metadata(file, {"flux_lora.base": "mini"})
    assert add_metadata(file, {"flux_lora.base": "mini"}) == once


def test_rank_and_alpha_are_those_of_the_tensors(tmp_path: Path):
    write_tensors(TENSORS, tmp_path / "x", {})
    add_metadata(tmp_path / "x", {})
    told = read_header(tmp_path / "x").metadata
    assert (told["ss_network_dim"], told["ss_network_alpha"]) == ("4", "4")
    assert "ss_network_module" not in told


def test_a_kohya_file_says_so_and_a_fused_layer_makes_its_rank_dynamic(tmp_path: Path):
    tensors = {
        "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": torch.ones(12, 6),
        "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": torch.ones(18, 12),
        "lora_unet_double_blocks_0_img_attn_qkv.alpha": torch.tensor(6.0),
        "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": torch.ones(4, 6),
        "lora_unet_double_blocks_0_img_attn_proj.lora_up.weight": torch.ones(6, 4),
        "lora_unet_double_blocks_0_img_attn_proj.alpha": torch.tensor(6.0),
    }
    write_tensors(tensors, tmp_path / "x", {})
    add_metadata(tmp_path / "x", {})
    told = read_header(tmp_path / "x").metadata
    assert told["ss_network_module"] == "networks.lora_flux"
    assert (told["ss_network_dim"], told["ss_network_alpha"]) == ("Dynamic", "6")


def test_a_file_that_would_talk_too_much_is_refused_and_left_alone(tmp_path: Path):
    write_tensors(TENSORS, tmp_path / "x", {})
    before = (tmp_path / "x").read_bytes()
    with pytest.raises(AdapterFileError, match="modelspec.thumbnail"):
        add_metadata(tmp_path / "x", {"modelspec.thumbnail": "x" * 600_000})
    assert (tmp_path / "x").read_bytes() == before
