# ruff: noqa: E402
"""The whole path on a tiny FLUX.3 klein: photos in, a proven file out that the official pipeline loads."""

import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import transformers
from PIL import Image

pytest.importorskip("diffusers", minversion="0.42", reason="FLUX.3 came with diffusers 0.42")

from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.header import read_header
from flux_lora.commands.check import check
from flux_lora.commands.run import run
from flux_lora.commands.terminal import FELL_SHORT
from flux_lora.config.compose import compose_config
from flux_lora.errors import ConfigError
from flux_lora.render.kept import spec_in
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run
from flux_lora.share.validate import workflow_faults
from flux_lora.train.reporters import read_metrics
from tests.edit_path import assert_program_draws_the_example, edit_settings, pairs_folder
from tests.family_path import assert_drawn_otherwise, assert_every_key_is_used, file_of
from tests.flux3_base import LONG, Processor, official_pipeline, qwen_tokenizer, write_flux3
from tests.test_path import photo_folder, settings

TOKENS = 240


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flux3(tmp_path_factory.mktemp("flux3") / "base")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captions of two windows, and so are the class images that they and the prompts ask for."""
    folder = photo_folder(tmp_path_factory.mktemp("photos"), 5)
    for number in (0, 2, 4):
        (folder / f"photo_{number}.txt").write_text(f"{LONG.replace('red zorb', 'zorb')} number {number}")
    return folder


def flux3_settings(tiny_flux: Path, base: Path, photos: Path, run_dir: Path) -> list[str]:
    """The product recipe on FLUX.3, two photos a batch; the scorer is the tiny FLUX's CLIP."""
    more = ["model=flux3_klein", f"model.path={base}", f"model.max_sequence_length={TOKENS}"]
    more += ["model.likeness=", "train.class_images=2", "train.batch_size=2", "train.caption_dropout=0.3"]
    return settings(tiny_flux, photos, run_dir, *more)


@pytest.fixture(scope="module")
def finished(tiny_flux: Path, base: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that went all the way; a random base cannot learn, so nothing passes."""
    folder = tmp_path_factory.mktemp("runs") / "mug"
    assert run(compose_config(flux3_settings(tiny_flux, base, photos, folder))) == FELL_SHORT
    return folder


def test_photos_become_a_file_of_which_diffusers_uses_every_key(finished: Path):
    assert_every_key_is_used(finished, "diffusers")  # what ComfyUI does with FLUX.3 is not known
    assert len(read_metrics(finished / "metrics.jsonl")) > 0


def test_the_official_pipeline_draws_otherwise_with_the_file_and_as_before_without(finished: Path, base: Path):
    pipeline = official_pipeline(base)
    assert_drawn_otherwise(pipeline, file_of(finished), lambda **asked: pipeline(**asked, output="images"))


def test_the_file_names_its_base_and_leaves_out_what_only_references_use(finished: Path):
    header = read_header(file_of(finished))
    assert header.metadata["modelspec.architecture"] == "flux-3-klein/lora"
    assert header.metadata["flux_lora.non_commercial"] == "true"
    assert all(key.startswith("transformer.") and not key.endswith(".alpha") for key in header.tensors)
    names = set(read_adapter(file_of(finished)).deltas)
    assert {"single_transformer_blocks.1.attn.to_out.0", "txt_mode_blocks.0.ff.linear_in"} <= names
    assert "mode_blocks.image.1.attn.to_q" in names and not any("image_cond" in name for name in names)


def test_the_workflow_beside_it_is_flux_3_s(finished: Path):
    workflow = (file_of(finished).parent / "workflow.json").read_text()
    assert workflow_faults(workflow) == []
    nodes = {node["type"]: node for node in json.loads(workflow)["nodes"]}
    assert {"CFGGuider", "BasicScheduler", "EmptyFlux2LatentImage"} <= set(nodes)
    assert "flux3" in nodes["CLIPLoader"]["widgets_values"]
    assert "ModelSamplingFlux" not in nodes and "Flux2Scheduler" not in nodes
    card = (file_of(finished).parent / "README.md").read_text()
    assert "ComfyUI was not tried with FLUX.3 here" in card and "under a non-commercial licence" in card


def test_the_snippet_beside_it_draws_the_picture_that_is_shown(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Qwen3-VL's processor needs torchvision, and here what is asked of it stands in."""
    monkeypatch.setattr(
        transformers.AutoProcessor,
        "from_pretrained",
        lambda folder, *, subfolder, **_: Processor(type(qwen_tokenizer()).from_pretrained(Path(folder) / subfolder)),
    )
    shutil.copytree(file_of(finished).parent, tmp_path / "export")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(tmp_path / "export" / "diffusers_example.py"))
    drawn = Image.open(tmp_path / "picture.png")
    shown = next(file for file in sorted(finished.rglob("*.png")) if "example" in str(file) and spec_in(file))
    assert np.array_equal(np.asarray(drawn), np.asarray(Image.open(shown)))


def test_an_edit_goes_the_whole_way_and_the_program_beside_it_edits_as_the_card_shows(
    tiny_flux: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What references pass through is brought from its file when the first is shown."""
    monkeypatch.setattr(
        transformers.AutoProcessor,
        "from_pretrained",
        lambda folder, *, subfolder, **_: Processor(type(qwen_tokenizer()).from_pretrained(Path(folder) / subfolder)),
    )
    more = ["model=flux3_klein", f"model.path={base}", f"model.max_sequence_length={TOKENS}"]
    asked = edit_settings(tiny_flux, pairs_folder(tmp_path / "pairs"), tmp_path / "run", *more)
    assert run(compose_config(asked)) == FELL_SHORT
    assert_every_key_is_used(tmp_path / "run", "diffusers")
    assert_program_draws_the_example(tmp_path / "run", tmp_path, monkeypatch)


def test_check_says_the_windows_and_counts_offline(
    tiny_flux: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub = Path("black-forest-labs/flux-3-image-klein-base")
    check(compose_config(flux3_settings(tiny_flux, hub, photos, tmp_path / "run")))
    said = " ".join(capsys.readouterr().out.split())
    assert "captions become so many Qwen tokens, in steps of 80: 80 (5)" in said
    check(compose_config(flux3_settings(tiny_flux, write_flux3(tmp_path / "base"), photos, tmp_path / "run")))
    said = " ".join(capsys.readouterr().out.split())
    assert "in steps of 80: 80 (2), 160 (3); those of different lengths do not share a batch" in said


def test_a_distilled_base_is_refused_before_anything_is_done(tiny_flux: Path, photos: Path, tmp_path: Path):
    distilled = write_flux3(tmp_path / "distilled", distilled=True)
    wanted = flux3_settings(tiny_flux, distilled, photos, tmp_path / "run")
    with pytest.raises(ConfigError, match="distilled to a few steps") as refused:
        preflight(Run(compose_config(wanted)))
    assert "model=flux3_klein" in refused.value.fix
    assert not (tmp_path / "run").exists()
    assert preflight(Run(compose_config([*wanted, "model.train_distilled=true"]))).samples


@pytest.mark.parametrize("dialect", ["kohya", "onetrainer", "bfl", "xlabs"])
def test_a_dialect_that_has_no_flux3_is_refused_before_anything_is_done(
    tiny_flux: Path, base: Path, photos: Path, tmp_path: Path, dialect: str
):
    wanted = [*flux3_settings(tiny_flux, base, photos, tmp_path / "run"), f"export.dialects=[{dialect}]"]
    with pytest.raises(ConfigError, match="not written for FLUX.3") as refused:
        preflight(Run(compose_config(wanted)))
    assert "export.dialects=[diffusers]" in refused.value.fix
