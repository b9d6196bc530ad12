"""peft's folders: what of their config is followed, and what is refused because no LoRA file carries it."""

import json
from pathlib import Path

import pytest
import torch

from flux_lora.adapter.dialects.peft import CONFIG, WEIGHTS, to_peft
from flux_lora.adapter.files import read_contents, write_dialect, write_tensors
from flux_lora.adapter.layer_types import Adapter, DoRA, LoRA
from flux_lora.errors import AdapterFileError
from tests.adapter.dialects.widths import QKV, adapter

PLAIN = {"peft_type": "LORA", "r": 2, "lora_alpha": 3}
TENSORS = {f"base_model.model.{QKV[0]}.lora_{side}.weight": torch.ones(2, 2) for side in "AB"}


def folder(place: Path, config: object, tensors: dict[str, torch.Tensor] | None = None) -> Path:
    write_tensors(TENSORS if tensors is None else tensors, place / WEIGHTS, {})
    (place / CONFIG).write_text(config if isinstance(config, str) else json.dumps(config))
    return place


def test_the_config_tells_the_scale(tmp_path: Path):
    (layer,) = read_contents(folder(tmp_path, PLAIN)).adapter.layers.values()
    assert layer.scale == 1.5


def test_the_file_inside_may_be_named_itself(tmp_path: Path):
    (layer,) = read_contents(folder(tmp_path, PLAIN) / WEIGHTS).adapter.layers.values()
    assert layer.scale == 1.5


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"peft_type": "BOFT"}, "is of a BOFT adapter"),
        ({"peft_type": None}, "is of a NONE adapter"),
        ({"bias": "all"}, r"bias=all \(biases\)"),
        ({"modules_to_save": ["proj_out"]}, r"modules_to_save=\['proj_out'\] \(whole modules"),
        ({"alpha_pattern": {"a.*b.*c.*d": 3}}, "has the pattern"),
        ({"alpha_pattern": {f"x{n}.*": 3 for n in range(101)}}, "more patterns with"),
        ({"lora_bias": True}, "lora_bias"),
        ({"init_lora_weights": "pissa_niter_4"}, "a base whose weights were changed too"),
        ({"use_dora": True}, "says DoRA, and .*to_q has no magnitude"),
        ({"r": 4}, "says rank 4 for .*to_q, its tensors have 2"),
        ({"rank_pattern": {"to_q": 3}}, "says rank 3"),
        ({"r": None}, "says rank None and alpha 3, which are no numbers"),
        ({"lora_alpha": float("inf")}, "no numbers"),
        ({"r": True}, "no numbers"),
        ({"alpha_pattern": {"(a+)+$": 3}}, r"has the pattern '\(a\+\)\+\$'"),
        ({"alpha_pattern": {"to_q": "3"}}, "has the pattern 'to_q': 3"),
        ({"rank_pattern": [1]}, "patterns that are no table"),
    ],
)
def test_what_no_lora_file_can_carry_or_makes_no_sense_is_refused(more: dict[str, object], what: str, tmp_path: Path):
    with pytest.raises(AdapterFileError, match=what):
        read_contents(folder(tmp_path, PLAIN | more))


@pytest.mark.parametrize("config", ["", "[]", "nonsense", "[" * 100_000])
def test_a_config_that_is_no_json_object_is_named(config: str, tmp_path: Path):
    with pytest.raises(AdapterFileError, match=r"adapter_config\.json is not a JSON object"):
        read_contents(folder(tmp_path, config))


def test_a_file_without_its_config_is_refused(tmp_path: Path):
    write_tensors(TENSORS, tmp_path / WEIGHTS, {})
    with pytest.raises(AdapterFileError, match="alpha stands in adapter_config.json, which is not beside it"):
        read_contents(tmp_path)


def test_a_folder_with_one_file_of_any_dialect_is_read_and_one_with_several_is_not(tmp_path: Path):
    write_dialect(adapter(QKV), tmp_path / "a.safetensors", dialect="kohya", metadata={}, dtype=torch.float32)
    assert read_contents(tmp_path).dialect == "kohya"
    write_dialect(adapter(QKV), tmp_path / "b.safetensors", dialect="kohya", metadata={}, dtype=torch.float32)
    with pytest.raises(AdapterFileError, match=r"2 \.safetensors \(a.safetensors, b.safetensors\)"):
        read_contents(tmp_path)


def test_mixed_ranks_are_told_by_whole_names(tmp_path: Path):
    mixed = Adapter(adapter(["proj_out"], rank=1).deltas | adapter(["single_transformer_blocks.0.proj_out"]).deltas)
    write_dialect(mixed, tmp_path, dialect="peft", metadata={"flux_lora.base": "dev"}, dtype=torch.float32)
    config = json.loads((tmp_path / CONFIG).read_text())
    assert config["base_model_name_or_path"] == "dev" and config["r"] == config["lora_alpha"] == 2
    assert config["rank_pattern"] == config["alpha_pattern"] == {"^proj_out": 1}
    assert config["target_modules"] == r"proj_out|single_transformer_blocks\.0\.proj_out"


def test_dora_by_inputs_is_refused():
    layer = adapter(QKV[:1]).layers[QKV[0]]
    assert isinstance(layer, LoRA)
    with pytest.raises(AdapterFileError, match="no DoRA by inputs; one is on transformer_blocks.0.attn.to_q"):
        to_peft(Adapter({QKV[0]: DoRA(layer, torch.ones(4), per_input=True)}), torch.float32)
