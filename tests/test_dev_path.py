"""The whole path on a tiny FLUX.2 dev: photos in, a proven file out that the official pipeline draws with."""

import json
from pathlib import Path

import pytest

from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.header import read_header
from flux_lora.commands.run import run
from flux_lora.commands.terminal import FELL_SHORT
from flux_lora.config.compose import compose_config
from flux_lora.share.validate import workflow_faults
from tests.dev_base import official_pipeline, write_dev
from tests.family_path import assert_drawn_otherwise, assert_every_key_is_used, file_of
from tests.test_path import photo_folder, settings

TOKENS = 288
"""The tiny tokenizer has a token a letter, and the system message many."""


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dev(tmp_path_factory.mktemp("dev") / "base")


@pytest.fixture(scope="module")
def finished(tiny_flux: Path, dev: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that went all the way; a random base cannot learn, so nothing passes. The scorer is the tiny
    FLUX.1's CLIP."""
    folder, photos = tmp_path_factory.mktemp("runs") / "mug", photo_folder(tmp_path_factory.mktemp("photos"), 5)
    more = ["model=flux2_dev", f"model.path={dev}", f"model.max_sequence_length={TOKENS}"]
    more += ["model.likeness=", "train.class_images=2"]
    assert run(compose_config(settings(tiny_flux, photos, folder, *more))) == FELL_SHORT
    return folder


def test_photos_become_a_file_of_which_diffusers_uses_every_key(finished: Path):
    assert_every_key_is_used(finished, "diffusers", "ComfyUI")


def test_the_official_pipeline_draws_otherwise_with_the_file_and_as_before_without(finished: Path, dev: Path):
    pipeline = official_pipeline(dev)
    assert_drawn_otherwise(
        pipeline, file_of(finished), lambda **asked: pipeline(**asked, max_sequence_length=TOKENS).images
    )


def test_the_file_names_its_base_and_its_licence(finished: Path):
    header = read_header(file_of(finished))
    assert header.metadata["modelspec.architecture"] == "Flux.2-dev/lora"
    assert header.metadata["flux_lora.non_commercial"] == "true"
    assert "single_transformer_blocks.1.attn.to_out" in read_adapter(file_of(finished)).deltas


def test_the_workflow_and_the_program_beside_it_are_dev_s(finished: Path):
    workflow = (file_of(finished).parent / "workflow.json").read_text()
    assert workflow_faults(workflow) == []
    kinds = {node["type"] for node in json.loads(workflow)["nodes"]}
    assert {"BasicGuider", "FluxGuidance", "Flux2Scheduler", "EmptyFlux2LatentImage", "CLIPLoader"} <= kinds
    assert not kinds & {"CFGGuider", "ModelSamplingFlux"}
    program = (file_of(finished).parent / "diffusers_example.py").read_text()
    assert "import Flux2Pipeline" in program and "guidance_scale=4" in program
