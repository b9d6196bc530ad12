"""What convert refuses, it refuses in words and before anything is written."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.commands.convert import convert
from flux_lora.config.choices import AdapterTargets, ExportDialect, FileDtype
from flux_lora.config.file_verbs import ConvertArgs
from flux_lora.errors import AdapterFileError, ConfigError, RunError
from tests.adapter.other_trainers import DIALECTS
from tests.commands.example_runs import (
    TEXT,
    adapter,
    apart,
    converted,
    deltas,
    names_in,
    with_text_encoders,
    written,
)


@pytest.mark.parametrize("taken", ["new.safetensors", "new.text_encoders.safetensors"])
def test_nothing_is_written_over_and_nothing_is_left(taken: str, tmp_path: Path):
    file = with_text_encoders(tmp_path / "mug.safetensors", adapter())
    (tmp_path / taken).write_text("mine")
    with pytest.raises(ConfigError, match=f"{taken} is there already"):
        convert(ConvertArgs(file=str(file), to=ExportDialect.kohya, out=str(tmp_path / "new.safetensors")))
    assert names_in(tmp_path) == ["mug.safetensors", taken]
    assert (tmp_path / taken).read_text() == "mine"


def loud(given: Adapter, times: float) -> Adapter:
    return Adapter({name: LoRA(each.down, each.up * times, each.alpha) for name, each in given.layers.items()})


def test_what_fp16_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", loud(adapter(), 1e12), dialect="kohya")
    with pytest.raises(AdapterFileError, match="more than float16 can"):
        converted(file, ExportDialect.diffusers, FileDtype.fp16)
    assert names_in(tmp_path) == ["mug.safetensors"]
    converted(file, ExportDialect.diffusers, FileDtype.bf16)


def test_fp16_is_refused_where_only_the_folded_scale_is_too_much(tmp_path: Path):
    quiet = loud(adapter(alpha=4.0), 1e4)
    much = Adapter({name: LoRA(each.down, each.up, 4e9) for name, each in quiet.layers.items()})
    file = written(tmp_path / "mug.safetensors", much, dialect="onetrainer")
    with pytest.raises(AdapterFileError, match="more than float16 can"):
        converted(file, ExportDialect.diffusers, FileDtype.fp16)
    assert names_in(tmp_path) == ["mug.safetensors"]
    converted(file, ExportDialect.onetrainer, FileDtype.fp16)


@pytest.mark.parametrize("quiet", [1e-5, 1e-9])
def test_numbers_too_small_for_fp16_are_named_with_a_way_out_that_helps(quiet: float, tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", loud(adapter(alpha=2.0**-8), quiet), dialect="kohya")
    with pytest.raises(AdapterFileError, match="smaller than the file's dtype can hold") as refused:
        converted(file, ExportDialect.diffusers, FileDtype.fp16)
    assert "dtype=fp32" in refused.value.fix
    again = converted(file, ExportDialect.diffusers, FileDtype.fp32, name="wide")
    assert apart(deltas(again), deltas(file)) < 1e-5


def test_text_encoders_that_fp16_cannot_hold_stop_the_whole(tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter(), dialect="kohya")
    save_file(load_file(file) | {key: each * 1e6 for key, each in TEXT.items()}, file)
    with pytest.raises(AdapterFileError, match="more than float16 can"):
        converted(file, ExportDialect.kohya, FileDtype.fp16)
    assert names_in(tmp_path) == ["mug.safetensors"]


@pytest.mark.parametrize("dialect", ["diffusers", "lycoris lokr"])
def test_numbers_that_are_none_are_refused_and_no_folder_is_made(dialect: str, tmp_path: Path):
    tensors = {key: tensor.clone() for key, tensor in DIALECTS[dialect].items()}
    next(tensor for tensor in tensors.values() if tensor.ndim == 2)[0, 0] = torch.nan
    save_file(tensors, tmp_path / "mug.safetensors")
    out = tmp_path / "new" / "mug.safetensors"
    with pytest.raises(AdapterFileError, match="not finite"):
        convert(ConvertArgs(file=str(tmp_path / "mug.safetensors"), to=ExportDialect.lycoris, out=str(out)))
    assert names_in(tmp_path) == ["mug.safetensors"]


def test_a_dialect_without_room_names_the_layers_and_leaves_nothing(tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter(targets=AdapterTargets.attention_mlp))
    out = tmp_path / "new" / "mug.safetensors"
    with pytest.raises(AdapterFileError, match=r"xlabs.*transformer_blocks\.0\.ff"):
        convert(ConvertArgs(file=str(file), to=ExportDialect.xlabs, out=str(out)))
    assert names_in(tmp_path) == ["mug.safetensors"]


@pytest.mark.parametrize(
    ("to", "out", "said"),
    [("kohya", "new.pt", "does not end in .safetensors"), ("peft", "new.safetensors", "peft is a folder")],
)
def test_a_name_that_would_mislead_is_refused(to: str, out: str, said: str, tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter())
    with pytest.raises(ConfigError, match=said):
        convert(ConvertArgs(file=str(file), to=ExportDialect(to), out=str(tmp_path / out)))
    assert names_in(tmp_path) == ["mug.safetensors"]


def test_a_place_that_cannot_be_written_is_said_in_words(tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter())
    with pytest.raises(RunError, match="cannot be written"):
        convert(ConvertArgs(file=str(file), to=ExportDialect.kohya, out=str(file / "new.safetensors")))


def test_a_file_that_is_not_there_or_is_none_is_named(tmp_path: Path):
    (tmp_path / "x.safetensors").write_text("no")
    for name in ("x.safetensors", "y.safetensors"):
        with pytest.raises(AdapterFileError, match=name):
            converted(tmp_path / name, ExportDialect.kohya)
    assert names_in(tmp_path) == ["x.safetensors"]


def test_a_file_without_any_change_is_refused_in_words(tmp_path: Path):
    save_file({"lora_unet_double_blocks_0_img_attn_norm.diff": torch.zeros(4)}, tmp_path / "x.safetensors")
    with pytest.raises(AdapterFileError, match="x.safetensors changes no layer"):
        converted(tmp_path / "x.safetensors", ExportDialect.kohya)
    assert names_in(tmp_path) == ["x.safetensors"]
