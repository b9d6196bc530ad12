"""Telling what a LoRA file is, with no model at hand."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from flux_lora.adapter.files import write_file, write_tensors
from flux_lora.adapter.inspect import describe, printable
from flux_lora.adapter.metadata import Label, metadata_of
from flux_lora.adapter.tensors import Adapter, Layer, size
from flux_lora.errors import AdapterFileError

NAMES = ("transformer_blocks.0.attn.to_q", "transformer_blocks.0.ff.net.2", "single_transformer_blocks.1.proj_out")
LABEL = Label(title="mug", trigger="zkmug", base="mini", date="2026-11-21", resolution=128)


def small() -> Adapter:
    return Adapter({name: Layer(torch.randn(2, 6), torch.randn(4, 2), 8.0) for name in NAMES})


def pair(name: str, down: str, up: str) -> dict[str, Tensor]:
    return {f"{name}{down}": torch.ones(2, 6), f"{name}{up}": torch.ones(4, 2)}


def test_an_export_is_described(tmp_path: Path):
    adapter = small()
    file = write_file(adapter, tmp_path / "x", metadata=metadata_of(LABEL, adapter), dtype=torch.float32)
    seen = describe(file)
    assert (seen.kind, seen.layout, seen.dtypes, seen.ranks, seen.layers) == ("LoRA", "diffusers", ("F32",), (2,), 3)
    assert (seen.trigger, seen.base, seen.title, seen.finite) == ("zkmug", "mini", "mug", True)
    assert seen.norms["single_transformer_blocks.1"] == pytest.approx(size(adapter.layers[NAMES[2]]), rel=1e-5)
    assert set(seen.norms) == {"transformer_blocks.0", "single_transformer_blocks.1"}


@pytest.mark.parametrize(
    ("layout", "tensors"),
    [
        ("kohya", pair("lora_unet_double_blocks_0_img_attn_qkv", ".lora_down.weight", ".lora_up.weight")),
        ("comfyui", pair("diffusion_model.double_blocks.0.img_attn.qkv", ".lora_A.weight", ".lora_B.weight")),
        ("peft", pair("base_model.model.transformer_blocks.0.attn.to_q", ".lora_A.weight", ".lora_B.weight")),
        ("diffusers without prefix", pair("transformer_blocks.0.attn.to_q", ".lora_A.weight", ".lora_B.weight")),
        ("flux_lora checkpoint", pair("transformer_blocks.0.attn.to_q", ".down", ".up")),
    ],
)
def test_layouts_of_other_programs_are_told_apart(layout: str, tensors: dict[str, Tensor], tmp_path: Path):
    write_tensors(tensors, tmp_path / "x", {})
    seen = describe(tmp_path / "x")
    assert (seen.layout, seen.ranks, seen.layers) == (layout, (2,), 1)


def test_a_stored_alpha_is_counted(tmp_path: Path):
    tensors = pair("lora_unet_x", ".lora_down.weight", ".lora_up.weight") | {"lora_unet_x.alpha": torch.tensor(1.0)}
    write_tensors(tensors, tmp_path / "x", {})
    assert describe(tmp_path / "x").alphas == (1.0,)
    assert describe(tmp_path / "x").norms["rest"] == pytest.approx(0.5 * 2 * 24**0.5)


def test_numbers_that_are_not_finite_are_seen(tmp_path: Path):
    tensors = pair("transformer.x", ".lora_A.weight", ".lora_B.weight")
    tensors["transformer.x.lora_B.weight"][0, 0] = float("nan")
    write_tensors(tensors, tmp_path / "x", {})
    assert not describe(tmp_path / "x").finite


def test_other_kinds_of_adapter_are_named(tmp_path: Path):
    write_tensors({"lycoris_x.lokr_w1": torch.ones(2, 2), "lycoris_x.lokr_w2": torch.ones(2, 2)}, tmp_path / "x", {})
    assert (describe(tmp_path / "x").kind, describe(tmp_path / "x").layout) == ("LoKr", "lycoris")


def test_a_base_model_is_not_a_lora(tmp_path: Path):
    write_tensors({"double_blocks.0.img_attn.qkv.weight": torch.ones(2, 2)}, tmp_path / "x", {})
    with pytest.raises(AdapterFileError, match="holds no LoRA.*img_attn"):
        describe(tmp_path / "x")


def test_words_from_strangers_cannot_move_the_cursor():
    assert printable("mug\x1b[2J\r\n") == "mug [2J  "
    assert len(printable("x" * 5000)) < 300


def test_inspecting_imports_no_model_library():
    program = (
        "import sys, flux_lora.adapter.inspect; print(*({'diffusers', 'transformers', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
