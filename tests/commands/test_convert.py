"""convert writes the same changes in other names, says what stays true, and leaves every other file alone."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flux_lora.adapter.files import read_contents
from flux_lora.adapter.layer_types import LoRA
from flux_lora.adapter.proof.loader_check import DELTA_BOUND
from flux_lora.adapter.write_proven import DTYPES
from flux_lora.commands.convert import convert
from flux_lora.config.choices import ExportDialect, FileDtype
from flux_lora.config.file_verbs import ConvertArgs
from flux_lora.errors import AdapterFileError
from tests.adapter.other_trainers import DIALECTS
from tests.commands.example_runs import (
    HANDED_ON,
    STALE,
    TEXT,
    adapter,
    apart,
    body_hash,
    converted,
    deltas,
    names_in,
    said_of,
    with_text_encoders,
    written,
)

FP32 = 1e-5
UNSPELLABLE = ("sdxl", "lycoris dora")


@pytest.mark.parametrize("there", ExportDialect)
def test_the_way_through_every_dialect_and_back_changes_no_layer(there: ExportDialect, tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter())
    back = converted(converted(file, there), ExportDialect.diffusers, name="back")
    assert apart(deltas(back), deltas(file)) < FP32


@pytest.mark.parametrize("first", ExportDialect)
def test_from_each_dialect_to_each_other_the_changes_stay(first: ExportDialect, tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter(rank=3, alpha=5.0))
    there = converted(file, first)
    for second in ExportDialect:
        assert apart(deltas(converted(there, second, name=first)), deltas(file)) < FP32


@pytest.mark.parametrize("dtype", [FileDtype.bf16, FileDtype.fp16])
@pytest.mark.parametrize("to", ["diffusers", "kohya", "peft"])
def test_sixteen_bits_round_no_layer_beyond_their_bound(dtype: FileDtype, to: str, tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter())
    out = converted(file, ExportDialect(to), dtype)
    error = apart(deltas(out), deltas(file))
    assert 0 < error < DELTA_BOUND[DTYPES[dtype]]


@pytest.mark.parametrize("dtype", DELTA_BOUND)
def test_the_dtype_stays_unless_another_is_asked_for(dtype: torch.dtype, tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter(), dtype=dtype)
    tensors = load_file(converted(file, ExportDialect.kohya))
    assert {tensor.dtype for key, tensor in tensors.items() if not key.endswith(".alpha")} == {dtype}


@pytest.mark.parametrize("name", [name for name, tensors in DIALECTS.items() if name not in UNSPELLABLE])
def test_every_stranger_becomes_a_file_that_reads_back_the_same(name: str, tmp_path: Path):
    save_file(DIALECTS[name], tmp_path / "x.safetensors")
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 2}')
    before = read_contents(tmp_path / "x.safetensors").adapter
    plain = all(isinstance(change, LoRA) for change in before.deltas.values())
    out = converted(tmp_path / "x.safetensors", ExportDialect.comfyui if plain else ExportDialect.lycoris)
    assert read_contents(out).adapter.deltas.keys() == before.deltas.keys()
    if plain:
        assert apart(deltas(out), deltas(tmp_path / "x.safetensors")) < FP32


def test_a_change_that_no_dialect_has_room_for_is_refused_by_name(tmp_path: Path):
    save_file(DIALECTS["lycoris dora"], tmp_path / "x.safetensors")
    for to in ExportDialect:
        with pytest.raises(AdapterFileError, match=r"DoRA|double_blocks\.0\.img_attn\.qkv"):
            converted(tmp_path / "x.safetensors", to)
    assert names_in(tmp_path) == ["x.safetensors"]


def test_what_is_true_of_the_old_file_only_is_not_said_of_the_new_one(tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter(), metadata=HANDED_ON | STALE)
    out = converted(file, ExportDialect.kohya)
    told = said_of(out)
    assert HANDED_ON.items() <= told.items()
    assert not STALE.items() & told.items() and "lora_adapter_metadata" not in told
    assert told["sshs_model_hash"] == body_hash(out) == told["modelspec.hash_sha256"].removeprefix("0x")
    assert told["ss_network_module"] == "networks.lora_flux"
    ranks = {str(tensor.shape[0]) for key, tensor in load_file(out).items() if "lora_down" in key}
    assert told["ss_network_dim"] == (ranks.pop() if len(ranks) == 1 else "Dynamic")


def test_a_peft_folder_says_nothing_stale_either(tmp_path: Path):
    out = converted(written(tmp_path / "mug.safetensors", adapter(), metadata=HANDED_ON | STALE), ExportDialect.peft)
    told = said_of(out / "adapter_model.safetensors")
    assert HANDED_ON.items() <= told.items() and not STALE.keys() & told.keys()
    assert names_in(out) == ["adapter_config.json", "adapter_model.safetensors"]


def test_the_file_carries_its_proof_and_no_place_on_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = converted(written(tmp_path / "mug.safetensors", adapter()), ExportDialect.diffusers)
    proof = json.loads(said_of(out)["flux_lora.proof"])
    assert {"diffusers", "ComfyUI", "Forge"} <= {each["reader"] for each in proof}
    assert all((each["unused"], each["missing"], each["modules"]) == (0, 0, len(deltas(out))) for each in proof)
    assert str(tmp_path) not in json.dumps(said_of(out))
    assert sha256(out.read_bytes()).hexdigest()[:12] in capsys.readouterr().out


def test_the_same_file_converted_twice_is_the_same_bytes(tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter(), metadata=HANDED_ON)
    one, two = (converted(file, ExportDialect.kohya, name=name) for name in "ab")
    assert one.read_bytes() == two.read_bytes()


def test_text_encoders_go_into_a_file_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = with_text_encoders(tmp_path / "mug.safetensors", adapter())
    out = converted(file, ExportDialect.diffusers)
    beside = tmp_path / "new_diffusers.text_encoders.safetensors"
    assert not read_contents(out).text_encoders.deltas and apart(deltas(out), deltas(file)) < FP32
    assert load_file(beside).keys() == TEXT.keys()
    assert read_contents(beside).text_encoders.deltas.keys() == read_contents(file).text_encoders.deltas.keys()
    assert str(beside) in capsys.readouterr().out


def test_of_a_file_for_text_encoders_alone_only_their_file_is_written(tmp_path: Path):
    save_file(TEXT, tmp_path / "mug.safetensors")
    converted(tmp_path / "mug.safetensors", ExportDialect.diffusers)
    assert names_in(tmp_path) == ["mug.safetensors", "new_diffusers.text_encoders.safetensors"]


def test_a_folder_with_a_dot_in_its_name_keeps_it_in_the_name_beside(tmp_path: Path):
    file = with_text_encoders(tmp_path / "mug.safetensors", adapter())
    convert(ConvertArgs(file=str(file), to=ExportDialect.peft, out=str(tmp_path / "mug-v1.5")))
    assert (tmp_path / "mug-v1.5.text_encoders.safetensors").is_file()


def test_a_file_that_says_too_much_hands_on_what_fits_and_names_what_it_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    told = HANDED_ON | {"ss_tag_frequency": "x" * 600_000}
    out = converted(written(tmp_path / "mug.safetensors", adapter(), metadata=told), ExportDialect.kohya)
    assert HANDED_ON.items() <= said_of(out).items() and "ss_tag_frequency" not in said_of(out)
    assert "ss_tag_frequency" in capsys.readouterr().out


def test_a_file_of_eight_bits_keeps_what_they_say(tmp_path: Path):
    tensors = load_file(written(tmp_path / "mug.safetensors", adapter()))
    save_file({key: tensor.to(torch.float8_e4m3fn) for key, tensor in tensors.items()}, tmp_path / "mug.safetensors")
    for to in ExportDialect:
        assert apart(deltas(converted(tmp_path / "mug.safetensors", to)), deltas(tmp_path / "mug.safetensors")) < FP32
