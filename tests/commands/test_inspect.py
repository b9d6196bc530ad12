"""inspect prints any file's words as they are, and numbers that are not numbers."""

from pathlib import Path

import pytest
import torch

from flux_lora.adapter.files import write_tensors
from flux_lora.commands.inspect import inspect

NAME = "transformer.transformer_blocks.0.attn.to_q"


def test_a_hostile_title_and_a_broken_number_are_shown_and_not_obeyed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    up = torch.full((4, 2), float("nan"))
    tensors = {f"{NAME}.lora_A.weight": torch.ones(2, 4), f"{NAME}.lora_B.weight": up}
    write_tensors(tensors, tmp_path / "odd.safetensors", {"modelspec.title": "[/b] [red]"})
    assert inspect(tmp_path / "odd.safetensors") == 0
    said = capsys.readouterr().out
    assert "[/b] [red]" in said and "NOT FINITE" in said and "not finite" in said
