"""What holds of the file that a run on any family ends with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor


def file_of(finished: Path) -> Path:
    """The file that a run in this folder has exported."""
    return Path(json.loads((finished / "summary.json").read_text())["files"][0]["file"])


def assert_every_key_is_used(finished: Path, *programs: str) -> None:
    """By these programs and no others; diffusers has really loaded it, and answers as what was trained."""
    (shipped,) = json.loads((finished / "summary.json").read_text())["files"]
    readers = {each["reader"]: each for each in shipped["verification"]["readers"]}
    assert set(readers) == set(programs)
    assert all((each["unused"], each["missing"]) == (0, 0) for each in readers.values())
    assert readers["diffusers"]["how"] == "loaded"
    assert shipped["verification"]["output_error"] < 1e-3


@torch.no_grad()
def assert_drawn_otherwise(pipeline: Any, file: Path, draw: Callable[..., Tensor]) -> None:
    """With the file, by the official pipeline; and without it again as before. `draw` takes what the pipeline is asked
    for in every family."""

    def drawn() -> Tensor:
        asked = {"prompt": "a zorb mug", "height": 64, "width": 64, "num_inference_steps": 2, "output_type": "pt"}
        return draw(**asked, generator=torch.Generator().manual_seed(0))

    before = drawn()
    pipeline.load_lora_weights(str(file))
    changed = drawn()
    pipeline.unload_lora_weights()
    assert not torch.equal(before, changed)
    assert torch.equal(before, drawn())
