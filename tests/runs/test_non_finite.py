"""A step that is not finite moves nothing; what it was asked is on the disk, and so many may be skipped."""

import json
import math
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from flux_lora.commands.train import train
from flux_lora.config.compose import compose_config
from flux_lora.errors import RunError
from flux_lora.runs.hardest import mean_losses
from flux_lora.train.checkpoints import complete_checkpoints
from flux_lora.train.reporters import read_metrics
from tests.test_path import photo_folder, settings

LESS = ("preview.every=0", "train.class_images=0", "train.preservation=0", "evaluate.held_out_losses=0")


@pytest.fixture
def asked(tiny_flux: Path, tmp_path: Path) -> list[str]:
    """A run of two epochs of three batches, in which photo_1's latent is NaN: two steps are not finite."""
    photos, run_dir = photo_folder(tmp_path / "photos", 5), tmp_path / "runs" / "mug"
    asked = settings(tiny_flux, photos, run_dir, *LESS, "check.page=false")
    assert train(compose_config([*asked, "train.steps=1", "train.save_every=1", f"run.dir={tmp_path}/runs/sound"])) == 0
    lines = (tmp_path / "runs" / "sound" / "dataset" / "manifest.jsonl").read_text().splitlines()
    (latent,) = [line["latent"] for line in map(json.loads, lines) if "photo_1.png" in line.get("image", "")]
    file = tmp_path / "runs" / "cache" / f"{latent}.safetensors"
    save_file({name: tensor * math.nan for name, tensor in load_file(file).items()}, file)
    return asked


def test_the_first_one_stops_and_names_what_it_was_asked(asked: list[str], tmp_path: Path):
    with pytest.raises(RunError, match=r"the loss is nan .* not moved. It was asked about .*photo_1.png") as refused:
        train(compose_config(asked))
    (file,) = (tmp_path / "runs" / "mug" / "non_finite").iterdir()
    assert str(file) in refused.value.problem and "train.max_skipped_steps=1" in refused.value.fix
    told = json.loads(file.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    step = int(file.stem.removeprefix("step-"))
    assert (told["step"], told["seed"], told["batches"], told["loss"]) == (step, 0, [step - 1], "nan")
    (image,) = [each for each in told["images"] if each["file"].endswith("photo_1.png")]
    assert image["loss"] == "nan" and 0 < image["sigma"] < 1 and image["captions"] == ["a zorb mug in place number 1"]
    assert len(read_metrics(tmp_path / "runs" / "mug" / "metrics.jsonl")) == step - 1


def test_as_many_as_may_be_are_skipped_and_a_run_that_is_gone_on_with_counts_them_all(asked: list[str], tmp_path: Path):
    folders = [tmp_path / "runs" / name for name in ("straight", "halves")]
    skips, each_step = "train.max_skipped_steps=2", "train.save_every=1"
    assert train(compose_config([*asked, skips, each_step, f"run.dir={folders[0]}"])) == 0
    with pytest.raises(RunError, match="photo_1.png"):
        train(compose_config([*asked, "train.max_skipped_steps=1", each_step, f"run.dir={folders[1]}"]))
    assert len(list((folders[1] / "non_finite").iterdir())) == 2, "the second stopped it"
    with pytest.raises(RunError, match="train.max_skipped_steps|photo_1.png"):
        train(compose_config([*asked, "train.max_skipped_steps=1", each_step, f"run.dir={folders[1]}"]))
    assert train(compose_config([*asked, skips, each_step, f"run.dir={folders[1]}"])) == 0

    last = [complete_checkpoints(folder)[-1].folder for folder in folders]
    for name in ("adapter.safetensors", "optimizer.safetensors"):
        assert (last[0] / name).read_bytes() == (last[1] / name).read_bytes()
    text = (folders[1] / "metrics.jsonl").read_text()
    assert "NaN" not in text and text.count('"finite": false') == text.count('"loss": null') == 2
    lines = read_metrics(folders[1] / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 7)) and mean_losses(lines) == {}


def test_a_step_that_is_skipped_leaves_the_adapter_as_it_was(asked: list[str], tmp_path: Path):
    run_dir = tmp_path / "runs" / "mug"
    assert train(compose_config([*asked, "train.max_skipped_steps=2", "train.save_every=1"])) == 0
    saved = [each.adapter_file.read_bytes() for each in complete_checkpoints(run_dir)]
    weights = [content[8 + int.from_bytes(content[:8], "little") :] for content in saved]
    for line in read_metrics(run_dir / "metrics.jsonl")[1:]:
        moved = weights[line["step"] - 1] != weights[line["step"] - 2]
        assert moved == line["finite"]
