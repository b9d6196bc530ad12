"""Another model family goes photos -> file through the same code: nothing but its package knows which one it is."""

import json
from pathlib import Path

import pytest

from flux_lora.adapter.files import read_adapter
from flux_lora.config.compose import compose_config
from flux_lora.models.family import ModelSource
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.registry import FAMILIES, family_of
from flux_lora.runs.encoding import encode_dataset
from flux_lora.runs.evaluation import evaluate_run
from flux_lora.runs.exporting import export_run
from flux_lora.runs.preflight import preflight
from flux_lora.runs.report import write_run_report
from flux_lora.runs.run import Run
from flux_lora.runs.training import train_adapter
from flux_lora.train.reporters import read_metrics
from tests.dummy_family import IMAGE_LAYER, TEXT_LAYER, TEXT_TOKENS, DummyFamily, write_dummy_base
from tests.test_path import photo_folder, settings


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return photo_folder(tmp_path / "photos", 4)


@pytest.mark.filterwarnings("default")
def test_photos_become_a_proven_file_of_another_family(tiny_flux: Path, photos: Path, tmp_path: Path):
    base = write_dummy_base(tmp_path / "dummy")
    overrides = settings(tiny_flux, photos, tmp_path / "runs" / "mug")
    overrides += [f"model.path={base}", f"model.max_sequence_length={TEXT_TOKENS}", "train.steps=30"]
    overrides += ["train.learning_rate=3e-2", "train.class_images=2", "train.preservation=0.1"]
    run = Run(compose_config(overrides), families=(DummyFamily(), *FAMILIES))

    dataset = preflight(run)
    run.begin()
    train_adapter(run, encode_dataset(run, dataset))
    evaluation = evaluate_run(run, dataset)
    exported = export_run(run)
    page = write_run_report(run, dataset, evaluation, exported)

    losses = [line["loss"] for line in read_metrics(run.folder.metrics)]
    assert len(losses) == 30 and sum(losses[-5:]) < sum(losses[:5])
    assert set(read_adapter(exported.file).layers) == {IMAGE_LAYER, TEXT_LAYER}
    assert exported.proof.output_error is not None and exported.proof.output_error < 1e-3
    assert "zorb" in page.read_text()
    assert json.loads(run.folder.summary.read_text())["chosen"]["step"] in range(3, 31, 3)


def test_a_base_is_of_the_family_that_its_index_names(tiny_flux: Path, tmp_path: Path):
    base = write_dummy_base(tmp_path / "dummy")
    families = (Flux1(), DummyFamily())
    assert family_of(ModelSource(str(base)), families) == DummyFamily()
    assert family_of(ModelSource(str(tiny_flux)), families) == Flux1()
    assert family_of(ModelSource("black-forest-labs/FLUX.1-dev")) == Flux1(), "nothing of it need be on this disk"
