"""The diffusers script on the gallery's subjects, for the column beside ours.

    python -m benchmarks.subjects.script FOLDER 328 336

The step is benchmarks/script_step.py's, on the photos and captions that our run has, with two settings of what a person
turns: as many steps as the script takes unasked, and three times as many at a third of the rate. Both rates are the
mini base's, whose narrow layers need thirty times what a 12B base takes. Batch, layers and schedule are the script's
own (4, attention, constant); rank 16 instead of 4, as ours, is in its favour. Three minutes a subject on one core.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import FluxTransformer2DModel

from benchmarks.ground import Case, mini_numbers
from benchmarks.script_step import ScriptStep
from benchmarks.subjects.spoiled import BASE, draw, run_of
from benchmarks.subjects.subject import subject_of
from flux_lora.adapter.attach import adapter_of, detach
from flux_lora.adapter.layer_types import Adapter
from flux_lora.data.batches import batches
from flux_lora.runs.encoding import encode_dataset
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run


@dataclass(frozen=True)
class Setting:
    """What a person turns."""

    steps: int
    learning_rate: float


SETTINGS: Mapping[str, Setting] = {"script-500": Setting(500, 3e-3), "script-1500": Setting(1500, 1e-3)}
BATCH_SIZE = 4


def main() -> None:
    """Train and draw what is missing of the subjects whose numbers are given."""
    folder, numbers = Path(sys.argv[1]), [int(word) for word in sys.argv[2:]]
    torch.set_num_threads(1)
    for number in numbers:
        subject = subject_of(number)
        run = run_of(subject, folder, "script", ("train.preservation=0", "train.class_images=0"))
        draw(run, subject, None, folder, BASE)
        for name, setting in SETTINGS.items():
            if not (folder / "renders" / subject.name / name / "done").is_file():
                draw(run, subject, _train(run, setting), folder, name)


def _train(run: Run, setting: Setting) -> Adapter:
    dataset = preflight(run)
    run.begin()
    prepared = encode_dataset(run, dataset)
    transformer = run.load_pipeline().transformer
    assert isinstance(transformer, FluxTransformer2DModel), "the mini base is one"
    case = Case(mini_numbers(), pixels=128, text_tokens=32, batch_size=BATCH_SIZE, dtype=torch.float32)
    torch.manual_seed(0)
    script = ScriptStep(transformer, case, checkpointing=False, autocast=False, learning_rate=setting.learning_rate)
    script.batches = batches(prepared.encoded, prepared.empty, batch_size=BATCH_SIZE, seed=0)
    for _ in range(setting.steps):
        script.step()
    adapter = adapter_of(transformer)
    detach(transformer)
    return adapter


if __name__ == "__main__":
    main()
