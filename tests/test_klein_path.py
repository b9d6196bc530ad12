"""The whole path on a tiny FLUX.2 klein: photos in, a proven file out that the official pipeline loads."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import Flux2KleinPipeline

from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.header import read_header
from flux_lora.commands.run import run
from flux_lora.commands.terminal import FELL_SHORT
from flux_lora.config.compose import compose_config
from flux_lora.errors import ConfigError
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run
from flux_lora.share.validate import workflow_faults
from tests.klein_base import write_klein
from tests.test_path import photo_folder, settings

TOKENS = 96


@pytest.fixture(scope="module")
def klein(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_klein(tmp_path_factory.mktemp("klein") / "base")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photo_folder(tmp_path_factory.mktemp("photos"), 5)


def klein_settings(tiny_flux: Path, klein: Path, photos: Path, run_dir: Path) -> list[str]:
    """The product recipe on klein; the scorer is the tiny FLUX's CLIP."""
    more = ["model=flux2_klein_4b", f"model.path={klein}", f"model.max_sequence_length={TOKENS}"]
    more += ["model.likeness=", "train.class_images=2"]
    return settings(tiny_flux, photos, run_dir, *more)


@pytest.fixture(scope="module")
def finished(tiny_flux: Path, klein: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that went all the way; a random base cannot learn, so nothing passes."""
    folder = tmp_path_factory.mktemp("runs") / "mug"
    assert run(compose_config(klein_settings(tiny_flux, klein, photos, folder))) == FELL_SHORT
    return folder


def file_of(finished: Path) -> Path:
    return Path(json.loads((finished / "summary.json").read_text())["files"][0]["file"])


def test_photos_become_a_file_of_which_diffusers_uses_every_key(finished: Path):
    (shipped,) = json.loads((finished / "summary.json").read_text())["files"]
    readers = {each["reader"]: each for each in shipped["verification"]["readers"]}
    assert set(readers) == {"diffusers", "ComfyUI"}
    assert all((each["unused"], each["missing"]) == (0, 0) for each in readers.values())
    assert readers["diffusers"]["how"] == "loaded"
    assert shipped["verification"]["output_error"] < 1e-3


@torch.no_grad()
def test_the_official_pipeline_draws_otherwise_with_the_file_and_as_before_without(finished: Path, klein: Path):
    pipeline = Flux2KleinPipeline.from_pretrained(klein)
    pipeline.set_progress_bar_config(disable=True)

    def draw() -> torch.Tensor:
        return pipeline(
            prompt="a zorb mug",
            height=64,
            width=64,
            num_inference_steps=2,
            max_sequence_length=TOKENS,
            generator=torch.Generator().manual_seed(0),
            output_type="pt",
        ).images

    before = draw()
    pipeline.load_lora_weights(str(file_of(finished)))
    changed = draw()
    pipeline.unload_lora_weights()
    assert not torch.equal(before, changed)
    assert torch.equal(before, draw())


def test_the_file_names_its_base_and_holds_no_alpha(finished: Path):
    header = read_header(file_of(finished))
    assert header.metadata["modelspec.architecture"] == "flux-2-klein-4b/lora"
    assert all(key.startswith("transformer.") and not key.endswith(".alpha") for key in header.tensors)
    names = set(read_adapter(file_of(finished)).deltas)
    assert "single_transformer_blocks.1.attn.to_qkv_mlp_proj" in names
    assert "transformer_blocks.0.ff_context.linear_out" in names


def test_the_workflow_beside_it_is_klein_s(finished: Path):
    workflow = (file_of(finished).parent / "workflow.json").read_text()
    assert workflow_faults(workflow) == []
    kinds = {node["type"] for node in json.loads(workflow)["nodes"]}
    assert {"CFGGuider", "Flux2Scheduler", "EmptyFlux2LatentImage", "CLIPLoader"} <= kinds
    assert "Flux2KleinPipeline" in (file_of(finished).parent / "diffusers_example.py").read_text()


def test_a_distilled_base_is_refused_before_anything_is_done(tiny_flux: Path, photos: Path, tmp_path: Path):
    distilled = write_klein(tmp_path / "distilled", distilled=True)
    wanted = klein_settings(tiny_flux, distilled, photos, tmp_path / "run")
    with pytest.raises(ConfigError, match="distilled to a few steps") as refused:
        preflight(Run(compose_config(wanted)))
    assert "model=flux2_klein_4b" in refused.value.fix
    assert not (tmp_path / "run").exists()
    assert preflight(Run(compose_config([*wanted, "model.train_distilled=true"]))).samples


@pytest.mark.parametrize("dialect", ["comfyui", "onetrainer", "bfl"])
def test_a_dialect_that_has_no_flux2_is_refused_before_anything_is_done(
    tiny_flux: Path, klein: Path, photos: Path, tmp_path: Path, dialect: str
):
    wanted = [*klein_settings(tiny_flux, klein, photos, tmp_path / "run"), f"export.dialects=[{dialect}]"]
    with pytest.raises(ConfigError, match="not written for FLUX.2") as refused:
        preflight(Run(compose_config(wanted)))
    assert "export.dialects=[diffusers]" in refused.value.fix
