"""The whole path on a tiny FLUX.2 klein: photos in, a proven file out that the official pipeline loads."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import Flux2KleinPipeline
from PIL import Image

from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.header import read_header
from flux_lora.commands.run import run
from flux_lora.commands.terminal import FELL_SHORT
from flux_lora.config.compose import compose_config
from flux_lora.errors import ConfigError
from flux_lora.runs.candidates import Candidate
from flux_lora.runs.distilled import judge_on_distilled
from flux_lora.runs.evaluation import evaluation_spec, load_judges, rendered_images
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run
from flux_lora.share.validate import workflow_faults
from flux_lora.train.checkpoints import complete_checkpoints
from tests.family_path import assert_drawn_otherwise, assert_every_key_is_used, file_of
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


def test_photos_become_a_file_of_which_diffusers_uses_every_key(finished: Path):
    assert_every_key_is_used(finished, "diffusers", "ComfyUI")


def test_the_official_pipeline_draws_otherwise_with_the_file_and_as_before_without(finished: Path, klein: Path):
    pipeline = Flux2KleinPipeline.from_pretrained(klein)
    pipeline.set_progress_bar_config(disable=True)
    assert_drawn_otherwise(
        pipeline, file_of(finished), lambda **asked: pipeline(**asked, max_sequence_length=TOKENS).images
    )


def test_the_chosen_adapter_is_shown_on_the_distilled_model_as_that_one_samples(
    finished: Path, tiny_flux: Path, klein: Path, photos: Path, tmp_path: Path
):
    distilled = write_klein(tmp_path / "klein-4B", distilled=True)
    asked = [f"model.distilled={distilled}", "model.distilled_steps=2", "evaluate.strengths=[0.5,1.0]"]
    opened = Run(compose_config([*klein_settings(tiny_flux, klein, photos, finished), *asked]))
    dataset, spec = preflight(opened), evaluation_spec(opened.config, preflight(opened))
    judges, _ = load_judges(opened.config.model, opened.device.device)
    (last,) = complete_checkpoints(finished)[-1:]
    shown = judge_on_distilled(opened, dataset, judges, Candidate(last.step, last.adapter_file, 1.0), spec)
    assert "On klein-4B, in 2 steps at guidance 1" in shown.said
    own, half, whole = (rendered_images(opened.folder, name, spec) for name in shown.names)
    assert len(own) == len(half) == len(whole) == len(spec.shots())
    assert len({np.asarray(each[0]).tobytes() for each in (own, half, whole)}) == 3
    pipeline = Flux2KleinPipeline.from_pretrained(distilled)
    pipeline.set_progress_bar_config(disable=True)
    shot = spec.shots()[0]
    drawn = pipeline(
        prompt=shot.prompt,
        height=spec.height,
        width=spec.width,
        num_inference_steps=2,
        max_sequence_length=TOKENS,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(shot.seed),
        return_dict=False,
    )[0][0]
    apart = np.abs(np.asarray(drawn, np.int16) - np.asarray(own[0], np.int16))
    assert apart.max() <= 1, "ours were drawn several at a time"


def test_a_distilled_model_of_another_family_is_refused_before_anything_is_done(
    tiny_flux: Path, klein: Path, photos: Path, tmp_path: Path
):
    asked = [*klein_settings(tiny_flux, klein, photos, tmp_path / "run"), f"model.distilled={tiny_flux}"]
    with pytest.raises(ConfigError, match="layers are not those of FLUX.2"):
        preflight(Run(compose_config(asked)))
    assert not (tmp_path / "run").exists()


def test_the_file_names_its_base_and_holds_no_alpha(finished: Path):
    header = read_header(file_of(finished))
    assert header.metadata["modelspec.architecture"] == "Flux.2-klein-4b/lora"
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


def test_the_program_beside_it_runs_and_draws(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its pipeline's first argument is an image, unlike FluxPipeline's."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(file_of(finished).parent / "diffusers_example.py"))
    with Image.open(tmp_path / "picture.png") as drawn:
        assert drawn.mode == "RGB"


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
