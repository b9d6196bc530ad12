"""hardware.compile: blocks are compiled around the steps of a run, which then trains as it did."""

from dataclasses import replace
from pathlib import Path

import torch

from flux_lora.adapter.files import read_adapter
from flux_lora.runs.training import train_adapter
from flux_lora.train.checkpoints import latest_checkpoint
from tests.runs.test_memory_check import Heard, opened
from tests.test_path import photo_folder


def test_a_run_with_it_says_how_near_it_is_and_trains_the_same_adapter(tiny_flux: Path, tmp_path: Path):
    """torch is told to run compiled code as it stands: what is tested here is where in a run it is asked to compile."""
    photos, adapters = photo_folder(tmp_path / "photos", 4), []
    for compiles in (True, False):
        heard = Heard()
        run, prepared = opened(tiny_flux, photos, tmp_path / f"{compiles}", heard)
        hardware = replace(run.config.hardware, compile=compiles)
        with torch.compiler.set_stance("force_eager"):
            train_adapter(replace(run, config=replace(run.config, hardware=hardware)), prepared)
        said = [line for line in heard.lines if line.startswith("compile")]
        assert said == (["compile: 2 blocks, 0.00% from eager, gradients at a cosine of 1.0000"] if compiles else [])
        checkpoint = latest_checkpoint(run.folder.root)
        assert checkpoint is not None
        adapters.append(read_adapter(checkpoint.adapter_file).layers)
    one, other = adapters
    assert one.keys() == other.keys() and all(torch.equal(each.up, other[name].up) for name, each in one.items())
