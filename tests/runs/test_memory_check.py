"""Before step 0 a step on the largest images and a preview are tried; training is the same to the last bit after it."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch

from flux_lora.adapter.files import read_adapter
from flux_lora.config.compose import compose_config
from flux_lora.errors import RunError
from flux_lora.runs.encoding import PreparedRun, encode_dataset
from flux_lora.runs.memory_check import Memory, check_memory, largest_batch, memory_in_words
from flux_lora.runs.plan import CONTEXT, GIB, Planner, Way, planner_for
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run, Silent
from flux_lora.runs.training import train_adapter
from flux_lora.train.checkpoints import latest_checkpoint
from tests.test_path import photo_folder, settings


class Heard(Silent):
    """Keeps what is said, with what else happens."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


class TotalMeter:
    """A meter of a machine whose numbers are given."""

    def __init__(self, lines: list[str], taken: Memory) -> None:
        self._lines, self._taken = lines, taken

    def begin(self) -> None:
        self._lines.append("begin")

    def read(self) -> Memory:
        self._lines.append("read")
        return self._taken


TAKEN = Memory(peak=2 * GIB, held=3 * GIB, card=8 * GIB)


def opened(tiny_flux: Path, photos: Path, run_dir: Path, heard: Heard) -> tuple[Run, PreparedRun]:
    few = ["train.steps=2", "train.save_every=2", "preview.every=2", "train.preservation=0", "train.class_images=0"]
    words = settings(tiny_flux, photos, run_dir, *few, "evaluate.held_out_losses=0")
    run = Run(compose_config(words), heard)
    dataset = preflight(run)
    run.begin()
    prepared = encode_dataset(run, dataset)
    heard.lines.clear()
    return run, prepared


def test_it_comes_first_leaves_nothing_behind_and_changes_no_bit_of_training(tiny_flux: Path, tmp_path: Path):
    photos, adapters = photo_folder(tmp_path / "photos", 4), []
    for name in ("tried", "plain"):
        heard = Heard()
        run, prepared = opened(tiny_flux, photos, tmp_path / name, heard)
        files: list[list[str]] = []

        class Meter(TotalMeter):
            def read(self, run: Run = run, files: list[list[str]] = files) -> Memory:
                files.append(sorted(each.name for each in run.folder.root.iterdir()))
                return super().read()

        before = sorted(each.name for each in run.folder.root.iterdir())
        train_adapter(run, prepared, meter=Meter(heard.lines, TAKEN) if name == "tried" else None)
        said = heard.lines[:3]
        if name == "tried":
            assert said[:2] == ["begin", "read"] and files == [before]
            assert said[2].startswith("memory: a step on the largest images and a preview take 2.0 GB, ")
            assert said[2].endswith(" were planned, 8.0 are here")
        else:
            assert "read" not in said
        checkpoint = latest_checkpoint(run.folder.root)
        assert checkpoint is not None
        adapters.append(read_adapter(checkpoint.adapter_file).layers)
    one, other = adapters
    assert one.keys() == other.keys()
    assert all(
        torch.equal(each.up, other[name].up) and torch.equal(each.down, other[name].down) for name, each in one.items()
    )


def test_a_run_that_goes_on_is_not_tried_again(tiny_flux: Path, tmp_path: Path):
    heard = Heard()
    run, prepared = opened(tiny_flux, photo_folder(tmp_path / "photos", 4), tmp_path / "run", heard)
    train_adapter(run, prepared)
    heard.lines.clear()
    train_adapter(run, prepared, meter=TotalMeter(heard.lines, TAKEN))
    assert "begin" not in heard.lines


def test_the_largest_batch_is_that_of_most_pixels_and_a_bucket_of_one_image_fills_none():
    sides = [(64, 64), (64, 64), (96, 64), (128, 48), (128, 48)]
    groups = ((0, 1), (2,), (3, 4))
    assert largest_batch(groups, sides, 1) == ((2,),)
    assert largest_batch(groups, sides, 2) == ((3, 4),)


@cache
def dev() -> Planner:
    words = ["recipe=product", "data.folder=photos", "data.trigger=zorb", "data.class_word=mug", "hardware.dtype=bf16"]
    run = Run(compose_config(words))
    return planner_for(run.config, run.family, run.source)


def said_of(peak: float, held: float, card: float) -> list[str]:
    plan = dev().plan(Way())
    planned = max(stage.bytes for stage in plan.stages if stage.name != "encode")
    memory = Memory(peak=peak * planned, held=held * planned, card=card * planned)
    return list(memory_in_words(memory, plan, "begin again"))


def test_what_was_taken_is_said_beside_what_was_planned_and_more_or_a_spill_is_named():
    (line,) = said_of(0.98, 1.0, 1.1)
    assert line.count("GB") == 1 and "were planned" in line
    _, more = said_of(1.2, 1.25, 2.0)
    assert more == "memory: that is 20% more than planned; hardware.gpu_gb plans for less"
    _, spilled = said_of(1.0, 1.2, 1.1)
    assert "in system memory" in spilled and spilled.endswith("begin again")


@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_what_has_no_room_is_refused_with_what_takes_less(quantize: str):
    def without_room() -> None:
        raise torch.OutOfMemoryError

    calls: list[str] = []
    works: list[Callable[[], None]] = [lambda: calls.append("step"), without_room, lambda: calls.append("never")]
    words = ["recipe=product", "data.folder=photos", "data.trigger=zorb", "data.class_word=mug"]
    packed = [
        f"hardware.quantize={quantize}",
        "hardware.offload_modulation=true",
        "hardware.gradient_checkpointing=true",
    ]
    run = Run(compose_config([*words, "hardware.dtype=bf16", *(packed if quantize == "nf4" else [])]))
    with pytest.raises(RunError, match="has no room in 8.0 GB") as refused:
        check_memory(run, works, TotalMeter([], TAKEN))
    assert calls == ["step"]
    fix = "data.resolution=576" if quantize == "nf4" else "hardware.quantize=int8"
    assert fix in refused.value.fix and "new run.dir" in refused.value.fix


def test_cuda_itself_is_counted_on_both_sides():
    assert dev().plan(Way()).stage("train").parts["context"] == CONTEXT
