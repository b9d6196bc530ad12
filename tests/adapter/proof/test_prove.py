"""Every export is read back as its users' programs will, and what is wrong with it is named."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from flux_lora.adapter.files import write_dialect, write_file, write_tensors
from flux_lora.adapter.layouts.dialects import DIALECTS
from flux_lora.adapter.proof.loading import Base
from flux_lora.adapter.proof.prove import LOADED, prove
from flux_lora.adapter.proof.reading import BY_TABLE
from flux_lora.adapter.tensors import Adapter, Layer, scaled
from flux_lora.config.choices import AdapterTargets
from flux_lora.errors import AdapterFileError
from tests.adapter.made import frozen_transformer, learned, learned_adapter

K = "transformer_blocks.0.attn.to_k"
Q = "transformer_blocks.0.attn.to_q"
FINAL = "norm_out.linear"
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def adapter() -> Adapter:
    return learned_adapter(alpha=6.0, targets=AdapterTargets.blocks_all)


@pytest.fixture(scope="module")
def whole() -> Adapter:
    """Every linear layer of the tiny FLUX, those outside the blocks too."""
    modules = frozen_transformer().named_modules()
    linears = {name: module for name, module in modules if isinstance(module, nn.Linear)}
    generator = torch.Generator().manual_seed(3)
    fresh = {
        name: Layer(torch.randn(2, each.in_features, generator=generator), torch.zeros(each.out_features, 2), 1.0)
        for name, each in linears.items()
    }
    return learned(Adapter(fresh))


@pytest.fixture(scope="module")
def base(tiny_flux: Path) -> Base:
    return Base(path=str(tiny_flux))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_export_is_read_whole_by_all_and_answers_the_same(
    adapter: Adapter, dtype: torch.dtype, base: Base, tmp_path: Path
):
    file = write_file(adapter, tmp_path / "x.safetensors", metadata={"format": "pt"}, dtype=dtype)
    proof = prove(file, adapter, base=base)
    ways = {each.reader: each.how for each in proof.readers}
    assert ways == dict.fromkeys(["diffusers 0.32", "ComfyUI", "Forge"], BY_TABLE) | {"diffusers": LOADED}
    seen = {(each.keys, each.unused, each.modules, each.missing) for each in proof.readers}
    assert seen == {(2 * len(adapter.changes), 0, len(adapter.changes), 0)}
    assert proof.output_error is not None and proof.output_error < 1e-4
    assert proof.output_error_fp32 is not None
    assert proof.output_error_fp32 < (1e-4 if dtype is torch.float32 else 1e-2)


def test_every_layer_outside_the_blocks_is_read_too(whole: Adapter, base: Base, tmp_path: Path):
    file = write_file(whole, tmp_path / "x.safetensors", metadata={}, dtype=torch.bfloat16)
    assert prove(file, whole, base=base).worst.modules == len(whole.changes)


def test_a_proof_names_size_and_digest(adapter: Adapter, tmp_path: Path):
    file = write_file(adapter, tmp_path / "x.safetensors", metadata={}, dtype=torch.bfloat16)
    proof = prove(file, adapter)
    assert (proof.bytes, proof.sha256) == (file.stat().st_size, sha256(file.read_bytes()).hexdigest())


def test_a_bf16_base_gives_the_same_proof(adapter: Adapter, tiny_flux: Path, tmp_path: Path):
    file = write_file(adapter, tmp_path / "x.safetensors", metadata={}, dtype=torch.bfloat16)
    error = prove(file, adapter, base=Base(path=str(tiny_flux), dtype=torch.bfloat16)).output_error
    assert error is not None and error < 0.05


def test_without_a_base_the_key_tables_are_followed_and_nothing_answers(adapter: Adapter, tmp_path: Path):
    file = write_file(adapter, tmp_path / "x.safetensors", metadata={}, dtype=torch.float16)
    proof = prove(file, adapter)
    assert {each.how for each in proof.readers} == {BY_TABLE}
    assert proof.output_error is None


@pytest.mark.parametrize("dialect", ["kohya", "comfyui", "lycoris", "bfl", "peft"])
def test_other_dialects_are_read_by_the_programs_they_are_for(
    dialect: str, adapter: Adapter, base: Base, tmp_path: Path
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


def test_diffusers_loads_a_kohya_file_where_its_widths_are_not_fixed(adapter: Adapter, base: Base, tmp_path: Path):
    double = Adapter({name: layer for name, layer in adapter.changes.items() if not name.startswith("single")})
    file = write_dialect(double, tmp_path / "x.safetensors", dialect="kohya", metadata={}, dtype=torch.float32)
    proof = prove(file, double, dialect="kohya", base=base)
    assert {each.reader: each.how for each in proof.readers}["diffusers"] == LOADED
    assert proof.output_error is not None and proof.output_error < 1e-4


def test_what_a_program_leaves_out_of_a_dialect_is_said(whole: Adapter, base: Base, tmp_path: Path):
    file = write_dialect(whole, tmp_path / "x.safetensors", dialect="comfyui", metadata={}, dtype=torch.float32)
    proof = prove(file, whole, dialect="comfyui", base=base)
    assert len(proof.gaps) == 1
    assert proof.gaps[0].startswith("diffusers leaves 10 modules of this dialect out, first ")
    assert {each.reader: each.unused for each in proof.readers} == {"ComfyUI": 0, "Forge": 0, "diffusers": 30}


def test_several_ranks_are_not_promised_to_an_older_diffusers(base: Base, tmp_path: Path):
    mixed = Adapter({**learned_adapter(rank=4).changes, Q: learned_adapter(rank=2).changes[Q]})
    file = write_file(mixed, tmp_path / "x.safetensors", metadata={}, dtype=torch.bfloat16)
    proof = prove(file, mixed, base=base)
    assert "diffusers 0.32" not in {each.reader for each in proof.readers}
    assert proof.gaps == ("diffusers 0.32 stops at adapters of several ranks",)


def written(tensors: Tensors, folder: Path) -> Path:
    write_tensors(tensors, folder / "x.safetensors", {})
    return folder / "x.safetensors"


def spelled(adapter: Adapter, dialect: str = "diffusers") -> Tensors:
    write = DIALECTS[dialect].write
    assert write is not None
    return write(adapter, torch.float32)


def dropped(tensors: Tensors) -> Tensors:
    return {key: tensor for key, tensor in tensors.items() if f"r.{K}" not in key}


def q_and_k_swapped(tensors: Tensors) -> Tensors:
    q, k = f"transformer.{Q}", f"transformer.{K}"
    return {key.replace(q, "?").replace(k, q).replace("?", k): tensor for key, tensor in tensors.items()}


def halves_swapped(tensors: Tensors) -> Tensors:
    key = f"transformer.{FINAL}.lora_B.weight"
    return tensors | {key: tensors[key].roll(tensors[key].shape[0] // 2, 0)}


def with_nan(tensors: Tensors) -> Tensors:
    key = f"transformer.{K}.lora_A.weight"
    return tensors | {key: tensors[key].where(tensors[key] < 0, float("nan"))}


def with_an_extra_key(tensors: Tensors) -> Tensors:
    return tensors | {f"text_encoder_2.{K}.lora_{side}.weight": torch.ones(2, 2) for side in "AB"}


def with_half_a_pair(tensors: Tensors) -> Tensors:
    return {key: tensor for key, tensor in tensors.items() if key != f"transformer.{K}.lora_A.weight"}


FAULTS: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "dropped key": (dropped, f"diffusers did not load 1 trained layer.*{K}"),
    "q and k swapped": (q_and_k_swapped, f"{Q} in the file holds what was trained for {K} .2 such"),
    "halves of the final norm swapped": (halves_swapped, f"{FINAL} in the file has its two halves exchanged"),
    "NaN": (with_nan, f"not finite.*{K}.lora_A"),
    "extra key": (with_an_extra_key, "does not use 2 key.*text_encoder_2"),
    "half a pair": (with_half_a_pair, f"{K}.lora_B"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named_and_the_file_stays(fault: str, whole: Adapter, base: Base, tmp_path: Path):
    plant, message = FAULTS[fault]
    file = written(plant(spelled(whole)), tmp_path)
    with pytest.raises(AdapterFileError, match=message):
        prove(file, whole, base=base)
    assert file.is_file()


def test_a_scale_that_was_not_folded_is_named(adapter: Adapter, tmp_path: Path):
    raw = Adapter({name: replace(layer, alpha=float(layer.rank)) for name, layer in adapter.layers.items()})
    with pytest.raises(AdapterFileError, match=r"lost its scale alpha / rank = 1.5: it acts at 0.6667 times"):
        prove(written(spelled(raw), tmp_path), adapter)


def test_another_strength_is_named(adapter: Adapter, tmp_path: Path):
    with pytest.raises(AdapterFileError, match=r"acts at 0.98 times the trained strength"):
        prove(written(spelled(scaled(adapter, 0.98)), tmp_path), adapter)


def test_a_wrong_alpha_is_named(adapter: Adapter, tmp_path: Path):
    """A fused alpha that was not multiplied by the number of parts: a third and a quarter of the strength."""
    tensors = spelled(adapter, "kohya")
    key = "lora_unet_double_blocks_0_img_attn_qkv.alpha"
    with pytest.raises(AdapterFileError, match=r"to_q in the file acts at 0.3333 times"):
        prove(written(tensors | {key: tensors[key] / 3}, tmp_path), adapter, dialect="kohya")


def test_an_alpha_that_sd_scripts_needs_is_named(adapter: Adapter, tmp_path: Path):
    tensors = spelled(adapter, "kohya")
    del tensors["lora_unet_double_blocks_0_img_attn_qkv.alpha"]
    with pytest.raises(AdapterFileError, match="sd-scripts stops with a KeyError.*img_attn_qkv.alpha"):
        prove(written(tensors, tmp_path), adapter, dialect="kohya")


def test_parts_that_were_fused_in_the_wrong_order_are_named(adapter: Adapter, tmp_path: Path):
    tensors = spelled(adapter, "kohya")
    key = "lora_unet_single_blocks_0_linear1.lora_up.weight"
    width = tensors[key].shape[0] // 7
    q, k, rest = tensors[key].split([width, width, 5 * width])
    file = written(tensors | {key: torch.cat([k, q, rest])}, tmp_path)
    with pytest.raises(AdapterFileError, match=r"single\S+to_q in the file holds what was trained for single\S+to_k"):
        prove(file, adapter, dialect="kohya")


def test_a_file_cut_short_is_named(adapter: Adapter, tmp_path: Path):
    file = written(spelled(adapter), tmp_path)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(AdapterFileError, match="not a whole safetensors file"):
        prove(file, adapter)


def test_a_layer_that_was_never_trained_is_named(adapter: Adapter, tmp_path: Path):
    rest = Adapter({name: layer for name, layer in adapter.changes.items() if name != K})
    with pytest.raises(AdapterFileError, match=f"1 layer.* that were not trained, first {K}"):
        prove(written(spelled(adapter), tmp_path), rest)


def test_an_adapter_of_another_base_is_named(adapter: Adapter, base: Base, tmp_path: Path):
    wide = Adapter({K: Layer(torch.ones(2, 5), torch.ones(32, 2), 2.0)})
    with pytest.raises(AdapterFileError, match="32 x 5.* but this base has 32 x 32"):
        prove(written(spelled(wide), tmp_path), wide, base=base)


def test_an_adapter_that_learned_nothing_is_not_shipped(adapter: Adapter, tmp_path: Path):
    empty = Adapter({name: replace(layer, up=layer.up * 0) for name, layer in adapter.layers.items()})
    with pytest.raises(AdapterFileError, match="changes nothing"):
        prove(written(spelled(empty), tmp_path), empty)


def test_numbers_that_are_not_finite_are_not_shipped(adapter: Adapter, tmp_path: Path):
    broken = Adapter({name: replace(layer, up=layer.up * float("nan")) for name, layer in adapter.layers.items()})
    with pytest.raises(AdapterFileError, match="not finite"):
        prove(written(spelled(adapter), tmp_path), broken)
