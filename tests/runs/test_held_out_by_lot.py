"""A folder of photos alone is judged, too: some are held out, and too few are refused before the first step."""

import json
import shutil
from pathlib import Path

import pytest

from flux_lora.commands.evaluate import evaluate
from flux_lora.commands.run import run
from flux_lora.commands.terminal import FELL_SHORT
from flux_lora.commands.train import train
from flux_lora.config.compose import compose_config
from flux_lora.errors import DataError
from flux_lora.runs.dataset import read_dataset
from flux_lora.runs.evaluation import evaluation_record
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.run import Run
from tests.test_path import photo_folder, settings


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Eight photos, and none held out."""
    folder = photo_folder(tmp_path / "photos", 8)
    shutil.rmtree(folder / "held_out")
    return folder


def test_photos_alone_go_all_the_way_and_those_held_out_are_not_trained_on(
    tiny_flux: Path, photos: Path, tmp_path: Path
):
    config = compose_config(settings(tiny_flux, photos, tmp_path / "run"))
    dataset = read_dataset(Run(config))
    assert run(config) == FELL_SHORT
    folder = RunFolder(tmp_path / "run")
    lines = [json.loads(line) for line in folder.manifest.read_text(encoding="utf-8").splitlines()[1:]]
    trained = {Path(line["image"]).name for line in lines if "image" in line}
    held_out = {sample.image.name for sample in dataset.held_out}
    assert len(held_out) == 2 and len(trained) == 6 and not held_out & trained
    record = evaluation_record(folder)
    assert record and record.held_out == 2 and not any("trained on the photos" in doubt for doubt in record.doubts)
    assert folder.held_out_loss.is_file()


def test_a_run_that_could_not_be_judged_is_refused_before_anything_is_made(
    tiny_flux: Path, photos: Path, tmp_path: Path
):
    words = settings(tiny_flux, photos, tmp_path / "run", "data.held_out_images=0")
    with pytest.raises(DataError, match="held-out images: 0") as refused:
        run(compose_config(words))
    assert "data.held_out_images=3" in refused.value.fix
    with pytest.raises(DataError, match="held-out images: 0"):
        train(compose_config([*words, "train.evaluate_every=3"]))
    assert not (tmp_path / "run").exists()
    assert (
        train(
            compose_config([*words, "train.steps=1", "train.save_every=1", "preview.every=0", "train.preservation=0"])
        )
        == 0
    )


def test_a_run_of_an_earlier_version_goes_on_with_all_of_its_photos(tiny_flux: Path, photos: Path, tmp_path: Path):
    words = settings(tiny_flux, photos, tmp_path / "run", "preview.every=0", "train.preservation=0")
    assert train(compose_config([*words, "data.held_out_images=0"])) == 0
    recipe = tmp_path / "run" / "recipe.yaml"
    lines = recipe.read_text().splitlines(keepends=True)
    recipe.write_text("".join(line for line in lines if "held_out_images" not in line))
    last = max((tmp_path / "run" / "checkpoints").iterdir())
    shutil.rmtree(last)
    assert train(compose_config(words)) == 0
    assert last.is_dir()
    shutil.rmtree(last)
    assert train(compose_config(words)) == 0, "a second time, too: its recipe still does not know of lots"
    other = settings(tiny_flux, photos, tmp_path / "other", "preview.every=0", "train.preservation=0")
    shutil.rmtree(last)
    resumed = [*other, f"train.resume={tmp_path / 'run'}"]
    assert train(compose_config(resumed)) == 0 and train(compose_config(resumed)) == 0
    with pytest.raises(DataError, match="held-out images: 0"):
        evaluate(compose_config(words))


def test_another_tools_file_is_judged_by_photos_that_it_may_have_seen_and_the_page_says_so(
    tiny_flux: Path, photos: Path, tmp_path: Path
):
    words = settings(
        tiny_flux,
        photos,
        tmp_path / "run",
        "train.steps=1",
        "train.save_every=1",
        "preview.every=0",
        "train.preservation=0",
    )
    assert train(compose_config(words)) == 0
    file = next((tmp_path / "run").glob("checkpoints/*/adapter.safetensors"))
    judged = settings(tiny_flux, photos, tmp_path / "judged", f"evaluate.adapter={file}")
    assert evaluate(compose_config(judged)) == FELL_SHORT
    record = evaluation_record(RunFolder(tmp_path / "judged"))
    assert record and any("may have been trained on the photos" in doubt for doubt in record.doubts)
    assert "may have been trained on the photos" in (tmp_path / "judged" / "evaluation" / "report.html").read_text()
