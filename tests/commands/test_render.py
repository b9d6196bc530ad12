"""render draws what was asked for, writes over nothing, and its images are those of the evaluator's sampler."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from flux_lora.__main__ import answer
from flux_lora.adapter.files import write_dialect
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.errors import ConfigError
from flux_lora.render.kept import spec_in

LAYER = "single_transformer_blocks.0.attn.to_q"


def asked(tiny_flux: Path, out: Path, *more: str) -> list[str]:
    words = {"prompts": "[a red cube,rain]", "seeds": "[3,4]", "width": "48", "height": "32", "steps": "2"}
    words |= {"path": str(tiny_flux), "out": str(out), "hardware.device": "cpu"}
    words |= {key: value for key, _, value in (word.partition("=") for word in more)}
    return ["render", *(f"{key}={value}" for key, value in words.items())]


def pixels(folder: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file)) for file in sorted(folder.glob("0*.png"))])


def test_each_prompt_with_each_seed_and_a_sheet(tiny_flux: Path, tmp_path: Path):
    assert answer(asked(tiny_flux, tmp_path / "a")) == 0
    assert pixels(tmp_path / "a").shape == (4, 32, 48, 3)
    made = [spec_in(file) for file in sorted((tmp_path / "a").glob("0*.png"))]
    assert [(spec.prompt, spec.seed) for spec in made if spec] == [
        ("a red cube", 3),
        ("a red cube", 4),
        ("rain", 3),
        ("rain", 4),
    ]
    assert (tmp_path / "a" / "sheet.png").is_file()


def test_a_lora_changes_the_images_and_at_strength_0_it_does_not(tiny_flux: Path, tmp_path: Path):
    generator = torch.Generator().manual_seed(0)
    width = 32
    layer = LoRA(torch.randn(2, width, generator=generator), torch.randn(width, 2, generator=generator), 2.0)
    file = write_dialect(
        Adapter({LAYER: layer}), tmp_path / "a.safetensors", dialect="diffusers", metadata={}, dtype=torch.float32
    )
    answer(asked(tiny_flux, tmp_path / "base"))
    answer(asked(tiny_flux, tmp_path / "on", f"adapter={file}"))
    answer(asked(tiny_flux, tmp_path / "off", f"adapter={file}", "strength=0"))
    assert np.array_equal(pixels(tmp_path / "off"), pixels(tmp_path / "base"))
    assert not np.array_equal(pixels(tmp_path / "on"), pixels(tmp_path / "base"))


@pytest.mark.parametrize(
    ("word", "problem"),
    [("width=50", "width is 50, not a multiple of"), ("steps=0", "steps is 0"), ("seeds=[]", "no seed")],
)
def test_what_cannot_be_rendered_is_refused_before_a_model_is_loaded(
    tiny_flux: Path, tmp_path: Path, word: str, problem: str
):
    with pytest.raises(ConfigError, match=problem):
        answer(asked(tiny_flux, tmp_path / "a", word))
    assert not (tmp_path / "a").exists()


def test_a_folder_that_is_there_is_left_alone(tiny_flux: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="is there already"):
        answer(asked(tiny_flux, tmp_path))
    assert list(tmp_path.iterdir()) == [] or tiny_flux.parent == tmp_path


def test_the_hardware_is_chosen_as_in_training_unless_it_is_named(tiny_flux: Path, tmp_path: Path, capsys):
    words = asked(tiny_flux, tmp_path / "auto", "hardware.device=auto")
    assert answer([*words, "hardware.gpu_gb=12"]) == 0
    assert "hardware: whole base, at most " in capsys.readouterr().err
    assert answer([*asked(tiny_flux, tmp_path / "said", "hardware.device=auto"), "hardware.auto=false"]) == 0
    assert "hardware: " not in capsys.readouterr().err
