"""The whole path on a tiny FLUX.1 Kontext: photos in, a proven file out that its own pipeline edits an image with."""

import json
import runpy
from pathlib import Path

import pytest
import torch
from diffusers import FluxKontextPipeline
from PIL import Image

from flux_lora.commands.run import run
from flux_lora.commands.terminal import FELL_SHORT
from flux_lora.config.compose import compose_config
from tests.models.test_kontext import as_kontext
from tests.test_path import photo_folder, settings


@pytest.fixture(scope="module")
def kontext(tiny_flux: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return as_kontext(tiny_flux, tmp_path_factory.mktemp("kontext") / "base")


@pytest.fixture(scope="module")
def finished(tiny_flux: Path, kontext: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported file of a run that went all the way; a random base cannot learn, so nothing passes."""
    folder, photos = tmp_path_factory.mktemp("runs") / "mug", photo_folder(tmp_path_factory.mktemp("photos"), 5)
    more = ["model=flux_kontext", f"model.path={kontext}", "model.max_sequence_length=32", "model.likeness="]
    assert run(compose_config(settings(tiny_flux, photos, folder, *more))) == FELL_SHORT
    return Path(json.loads((folder / "summary.json").read_text())["files"][0]["file"])


@torch.no_grad()
def test_the_official_pipeline_edits_an_image_otherwise_with_the_file(finished: Path, kontext: Path):
    pipeline = FluxKontextPipeline.from_pretrained(kontext)
    pipeline.set_progress_bar_config(disable=True)
    before = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    def draw() -> torch.Tensor:
        return pipeline(
            image=before,
            prompt="a zorb mug",
            height=64,
            width=64,
            max_area=64 * 64,
            num_inference_steps=2,
            max_sequence_length=32,
            generator=torch.Generator().manual_seed(0),
            output_type="pt",
            _auto_resize=False,
        ).images

    plain = draw()
    pipeline.load_lora_weights(str(finished))
    assert not torch.equal(plain, draw())


def test_the_program_beside_it_draws_with_kontext_s_pipeline(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = finished.parent / "diffusers_example.py"
    assert "import FluxKontextPipeline" in program.read_text()
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(program))
    with Image.open(tmp_path / "picture.png") as drawn:
        assert drawn.width * drawn.height < 1024 * 1024, "the size of the recipe, not the pipeline's own"
