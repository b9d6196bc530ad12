"""What trained nothing, or left no file that loads, has not succeeded."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from PIL.Image import Image
from safetensors.torch import load_file, save_file

from flux_lora.__main__ import answer
from flux_lora.config.compose import compose_config
from flux_lora.distributed.processes import ALONE
from flux_lora.errors import RunError
from flux_lora.runs.run import Run
from flux_lora.runs.training import train_together
from flux_lora.train.checkpoints import Checkpoint
from flux_lora.train.loop import Step
from flux_lora.train.reporters import Started
from tests.test_path import photo_folder, settings

LESS = ("preview.every=0", "train.class_images=0", "train.preservation=0", "evaluate.held_out_losses=0")
LESS = (*LESS, "check.page=false", "train.steps=2", "train.save_every=2")


class Meddles:
    """Somebody changes the last checkpoint as soon as it is there."""

    def __init__(self, meddle: Callable[[Path], object]) -> None:
        self._meddle = meddle

    def started(self, facts: Started) -> None: ...
    def step(self, step: Step) -> None: ...
    def previewed(self, number: int, images: Mapping[str, Image]) -> None: ...
    def measured(self, number: int, facts: Mapping[str, float]) -> None: ...
    def finished(self, status: str) -> None: ...
    def saved(self, checkpoint: Checkpoint) -> None:
        self._meddle(checkpoint.adapter_file)


def is_cut_short(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-16])


def is_nan(file: Path) -> None:
    tensors = load_file(file)
    save_file({name: each if name.endswith("alpha") else each * math.nan for name, each in tensors.items()}, file)


@pytest.mark.parametrize(
    ("meddle", "problem"),
    [
        (Path.unlink, "has no whole checkpoint of step 2"),
        (is_cut_short, "has no whole checkpoint of step 2"),
        (is_nan, "numbers that are not finite"),
    ],
)
def test_a_last_file_that_is_gone_damaged_or_not_finite_is_a_failure(
    meddle: Callable[[Path], object], problem: str, tiny_flux: Path, tmp_path: Path
):
    photos, run_dir = photo_folder(tmp_path / "photos", 4), tmp_path / "runs" / "mug"
    run = Run(compose_config(settings(tiny_flux, photos, run_dir, *LESS)))
    with pytest.raises(RunError, match=problem) as refused:
        train_together(run, ALONE, Meddles(meddle))
    assert refused.value.exit_code != 0
    assert json.loads((run_dir / "summary.json").read_text())["status"] == "failed"


def test_a_run_all_of_whose_steps_were_skipped_is_a_failure(tiny_flux: Path, tmp_path: Path):
    photos, run_dir = photo_folder(tmp_path / "photos", 4), tmp_path / "runs" / "mug"
    asked = settings(tiny_flux, photos, run_dir, *LESS, "train.max_skipped_steps=2")
    assert answer(["prepare", *asked]) == 0
    for file in (tmp_path / "runs" / "cache").glob("latent-*.safetensors"):
        is_nan(file)
    with pytest.raises(RunError, match="changes nothing: all of it is zero"):
        answer(["train", *asked])
    assert json.loads((run_dir / "summary.json").read_text())["status"] == "failed"
