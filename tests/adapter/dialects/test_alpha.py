"""Scale that stands outside the tensors."""

import json
from pathlib import Path

import pytest
import torch

from flux_lora.adapter.dialects.alpha import METADATA_KEY
from flux_lora.adapter.files import read_contents, write_tensors
from flux_lora.errors import AdapterFileError
from tests.adapter.dialects.widths import QKV, adapter, from_diffusers, to_diffusers

RAW = to_diffusers(adapter(QKV, alpha=2.0), torch.float32)


def said(**fields: object) -> dict[str, str]:
    return {METADATA_KEY: json.dumps({f"transformer.{key}": value for key, value in fields.items()})}


def scales(metadata: dict[str, str], more: dict[str, torch.Tensor] | None = None) -> list[float]:
    return [layer.scale for layer in from_diffusers(RAW | (more or {}), metadata).layers.values()]


def alphas(value: float) -> dict[str, torch.Tensor]:
    return {f"transformer.{name}.alpha": torch.tensor(value, dtype=torch.bfloat16) for name in QKV}


def test_without_a_word_the_scale_is_one():
    assert scales({}) == [1.0, 1.0, 1.0]


def test_the_metadata_tells_alpha_and_exceptions():
    assert scales(said(r=2, lora_alpha=8)) == [4.0, 4.0, 4.0]
    assert scales(said(r=2, lora_alpha=8, use_rslora=True)) == [8 / 2**0.5] * 3
    assert scales(said(r=2, lora_alpha=8, alpha_pattern={"to_k": 1})) == [4.0, 0.5, 4.0]
    assert scales(said(r=9, lora_alpha=8, rank_pattern={r"attn\.to_[qkv]": 2})) == [4.0, 4.0, 4.0]
    assert scales({METADATA_KEY: json.dumps({"r": 2, "lora_alpha": 8})}) == [4.0, 4.0, 4.0]


def test_alpha_in_both_places_has_to_be_the_same():
    assert scales(said(r=2, lora_alpha=8), alphas(8.0)) == [4.0, 4.0, 4.0]
    with pytest.raises(
        AdapterFileError, match="to_q gives the scale 0.5, lora_adapter_metadata in the metadata gives 4"
    ):
        scales(said(r=2, lora_alpha=8), alphas(1.0))


def test_a_rank_that_the_tensors_have_not_is_refused():
    with pytest.raises(AdapterFileError, match="says rank 4 for .*to_q, its tensors have 2"):
        scales(said(r=4, lora_alpha=8))


@pytest.mark.parametrize("alpha", [0.0, float("nan"), float("inf")])
def test_an_alpha_that_programs_read_differently_is_refused(alpha: float):
    with pytest.raises(AdapterFileError, match="alpha"):
        scales({}, alphas(alpha))


def test_the_owner_is_told_where_programs_will_differ(tmp_path: Path):
    write_tensors(RAW, tmp_path / "far", said(r=2, lora_alpha=8))
    assert "ComfyUI and older diffusers read it at another" in read_contents(tmp_path / "far").remarks[0]
    write_tensors(RAW, tmp_path / "said", {"ss_network_dim": "2", "ss_network_alpha": "1.0"})
    assert "says alpha 1 at rank 2, its tensors do not" in read_contents(tmp_path / "said").remarks[0]
    write_tensors(RAW, tmp_path / "usual", said(r=2, lora_alpha=2) | {"ss_network_dim": "2", "ss_network_alpha": "2"})
    assert read_contents(tmp_path / "usual").remarks == ()


@pytest.mark.parametrize("text", ["{", "7", "[" * 50_000])
def test_metadata_that_is_no_table_is_refused(text: str):
    with pytest.raises(AdapterFileError, match="is not a JSON object"):
        scales({METADATA_KEY: text})
