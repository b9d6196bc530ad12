"""Faults that are planted into a written file are found, and named by what went wrong."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from flux_lora.adapter.dialects.table import DIALECTS
from flux_lora.adapter.files import write_tensors
from flux_lora.adapter.layer_types import Adapter, LoRA, adapter_at_strength
from flux_lora.adapter.proof.diffusers_load import LoadedBase
from flux_lora.adapter.proof.prove import prove
from flux_lora.errors import AdapterFileError

K = "transformer_blocks.0.attn.to_k"
Q = "transformer_blocks.0.attn.to_q"
FINAL = "norm_out.linear"
Tensors = dict[str, Tensor]


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
def test_a_planted_fault_is_named_and_the_file_stays(fault: str, whole: Adapter, base: LoadedBase, tmp_path: Path):
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
        prove(written(spelled(adapter_at_strength(adapter, 0.98)), tmp_path), adapter)


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
    rest = Adapter({name: layer for name, layer in adapter.deltas.items() if name != K})
    with pytest.raises(AdapterFileError, match=f"1 layer.* that were not trained, first {K}"):
        prove(written(spelled(adapter), tmp_path), rest)


def test_an_adapter_of_another_base_is_named(adapter: Adapter, base: LoadedBase, tmp_path: Path):
    wide = Adapter({K: LoRA(torch.ones(2, 5), torch.ones(32, 2), 2.0)})
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
