"""reproduce gives the recipe back as a file that a new run folder can hold."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from flux_lora.adapter.files import write_tensors
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.adapter.metadata import Label, metadata_of
from flux_lora.commands.reproduce import reproduce
from flux_lora.config.compose import compose_config, reopen
from flux_lora.config.file_verbs import ReproduceArgs
from flux_lora.errors import ConfigError, RunError
from flux_lora.models.flux1.programs import PROGRAMS

NAME = "transformer.transformer_blocks.0.attn.to_q"
ADAPTER = Adapter({"transformer_blocks.0.attn.to_q": LoRA(torch.ones(2, 4), torch.ones(4, 2), 2.0)})
TENSORS = {f"{NAME}.lora_A.weight": torch.ones(2, 4), f"{NAME}.lora_B.weight": torch.ones(4, 2)}


def export(folder: Path, recipe: dict) -> Path:
    label = Label(
        title="mug",
        trigger="zubo",
        base="mini",
        architecture="flux-1-dev",
        programs=PROGRAMS,
        date="2026-11-21",
        resolution=128,
        recipe=json.dumps(recipe, default=str),
    )
    write_tensors(TENSORS, folder / "mug 1.safetensors", metadata_of(label, ADAPTER))
    return folder / "mug 1.safetensors"


def test_a_new_run_folder_with_the_recipe_is_the_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    config = compose_config(["recipe=demo", "train.steps=999"])
    assert reproduce(ReproduceArgs(file=str(export(tmp_path, asdict(config))))) == 0
    said = capsys.readouterr().out
    written = tmp_path / "mug 1.recipe.yaml"
    assert f"cp '{written}' runs/again/recipe.yaml" in said and "to mend" not in said
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "recipe.yaml").write_text(written.read_text())
    again = reopen(tmp_path / "again", [])
    assert again.train == config.train and again.adapter == config.adapter
    assert again.data == replace(config.data, folder="product")


def test_a_recipe_of_another_version_is_written_and_what_to_mend_in_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    recipe = asdict(compose_config(["recipe=demo"]))
    recipe["train"]["magic"] = 3
    assert reproduce(ReproduceArgs(file=str(export(tmp_path, recipe)), out=str(tmp_path / "old.yaml"))) == 0
    said = capsys.readouterr().out
    assert "to mend in it" in said and "magic" in said and (tmp_path / "old.yaml").is_file()


def test_a_file_in_the_way_is_left_alone(tmp_path: Path):
    file = export(tmp_path, asdict(compose_config(["recipe=demo"])))
    (tmp_path / "mug 1.recipe.yaml").write_text("mine")
    with pytest.raises(RunError, match="exists"):
        reproduce(ReproduceArgs(file=str(file)))
    assert (tmp_path / "mug 1.recipe.yaml").read_text() == "mine"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    file = export(tmp_path, asdict(compose_config(["recipe=demo"])))
    with pytest.raises(RunError, match="cannot be written"):
        reproduce(ReproduceArgs(file=str(file), out=str(tmp_path / "nowhere" / "x.yaml")))


def test_of_another_tool_s_file_its_settings_are_shown_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    metadata = {"ss_network_dim": "32", "ss_max_train_steps": "1600", "ss_comment": "\x1b[2Jhello"}
    write_tensors(TENSORS, tmp_path / "x.safetensors", metadata)
    assert reproduce(ReproduceArgs(file=str(tmp_path / "x.safetensors"))) == 1
    said = capsys.readouterr().out
    assert "ss_comment:  [2Jhello" in said and "adapter.rank=32 train.steps=1600" in said
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


def test_the_same_photos_and_settings_on_another_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The recipe composes, all but the base is as it was, and what changes is said."""
    words = ["recipe=product", "data.folder=photos", "data.trigger=zorb", "data.class_word=mug", "train.steps=999"]
    config = compose_config(words)
    file = export(tmp_path, asdict(config))
    assert reproduce(ReproduceArgs(file=str(file), model="flux2_klein_4b")) == 0
    said = capsys.readouterr().out
    assert "model.name was 'FLUX.1-dev' and is 'FLUX.2-klein-base-4B'" in said
    assert "model.render_guidance was 3.5 and is 4.0" in said and "trained anew" in said and "to mend" not in said
    (tmp_path / "again").mkdir()
    (tmp_path / "mug 1.recipe.yaml").rename(tmp_path / "again" / "recipe.yaml")
    again = reopen(tmp_path / "again", [])
    klein = compose_config([*words, "model=flux2_klein_4b"])
    assert (again.model, again.train, again.adapter) == (klein.model, config.train, config.adapter)


def test_a_base_that_there_is_not_is_refused_and_nothing_is_written(tmp_path: Path):
    file = export(tmp_path, asdict(compose_config(["recipe=demo"])))
    with pytest.raises(ConfigError, match="there is no model 'flux2_klein'") as refused:
        reproduce(ReproduceArgs(file=str(file), model="flux2_klein"))
    assert "flux2_klein_" in refused.value.fix
    assert not (tmp_path / "mug 1.recipe.yaml").exists()
