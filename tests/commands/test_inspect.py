"""inspect prints any file's words as they are, and numbers that are not numbers."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from flux_lora.adapter.files import write_tensors
from flux_lora.commands.inspect import inspect
from flux_lora.config.choices import PrintFormat
from flux_lora.config.file_verbs import InspectArgs
from tests.adapter.other_trainers import DIALECTS, METADATA

NAME = "transformer.transformer_blocks.{}.attn.to_q"


def said_of(file: Path, capsys: pytest.CaptureFixture[str], form: PrintFormat = PrintFormat.text) -> str:
    assert inspect(InspectArgs(file=str(file), format=form)) == 0
    return capsys.readouterr().out


def blocks(*lengths: float) -> dict[str, torch.Tensor]:
    tensors = {}
    for number, length in enumerate(lengths):
        tensors[f"{NAME.format(number)}.lora_A.weight"] = torch.ones(1, 4)
        tensors[f"{NAME.format(number)}.lora_B.weight"] = torch.full((4, 1), length / 4)
    return tensors


def test_a_hostile_title_and_a_broken_number_are_shown_and_not_obeyed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_tensors(blocks(float("nan")), tmp_path / "odd.safetensors", {"modelspec.title": "[/b] [red]\x1b[2J"})
    said = said_of(tmp_path / "odd.safetensors", capsys)
    assert "[/b] [red] [2J" in said and "NOT FINITE" in said and "not finite in 0" in said
    assert "\x1b" not in said


def test_the_chart_has_a_letter_for_each_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_tensors(blocks(1.0, 8.0, 4.0, float("nan")), tmp_path / "x", {})
    line = next(line for line in said_of(tmp_path / "x", capsys).splitlines() if line.startswith("double"))
    assert line.split() == ["double", "0", "to", "3", "▂█▅!", "1", "to", "8;", "not", "finite", "in", "3"]


def test_it_says_who_takes_the_file_and_who_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_file(DIALECTS["onetrainer"], tmp_path / "x", METADATA)
    lines = said_of(tmp_path / "x", capsys).splitlines()
    assert any(line.startswith("ComfyUI") and "takes it" in line for line in lines)
    assert any(line.startswith("diffusers") and "does not take it" in line for line in lines)
    assert any(line.startswith("note: its sshs_model_hash") for line in lines)


def test_without_a_trigger_it_says_what_the_captions_said_most(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_tensors(blocks(1.0), tmp_path / "x", {"ss_tag_frequency": '{"10_mug": {"zkmug": 12, "table": 5}}'})
    assert "not said; its captions say most often: zkmug, table" in said_of(tmp_path / "x", capsys)


@pytest.mark.parametrize("name", ["kohya with text encoders", "lycoris lokr", "sdxl"])
def test_for_scripts_everything_is_json(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    save_file(DIALECTS[name], tmp_path / "x", METADATA)
    found = json.loads(said_of(tmp_path / "x", capsys, PrintFormat.json))
    assert found["trigger"] == "zkmug" and len(found["hashes"]["autov3"]) == 12
    assert found["verdicts"][0]["reader"] == "diffusers"


def test_json_has_no_number_that_json_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    tensors = blocks(float("inf"), 1.0) | {f"{NAME.format(1)}.alpha": torch.tensor(float("nan"))}
    write_tensors(tensors, tmp_path / "x", {})
    said = said_of(tmp_path / "x", capsys, PrintFormat.json)
    found = json.loads(said, parse_constant=lambda word: pytest.fail(word))
    assert found["norms"]["transformer_blocks.0"] is None
