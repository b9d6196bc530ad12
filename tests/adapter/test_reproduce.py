"""The way back from a file to the run that made it."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml

from flux_lora.adapter.files import write_tensors
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.adapter.metadata import Label, metadata_of
from flux_lora.adapter.reproduce import read_reproduction
from flux_lora.config.compose import compose_config
from flux_lora.errors import AdapterFileError
from flux_lora.models.flux1.programs import PROGRAMS

NAME = "transformer.transformer_blocks.0.attn.to_q"
TENSORS = {f"{NAME}.lora_A.weight": torch.ones(2, 4), f"{NAME}.lora_B.weight": torch.ones(4, 2)}
KOHYA = {
    "ss_network_dim": "32",
    "ss_network_alpha": "16.0",
    "ss_learning_rate": "0.0004",
    "ss_max_train_steps": "1600",
    "ss_resolution": "(1024, 1024)",
    "ss_lr_warmup_steps": "None",
    "ss_seed": "$(rm -rf ~)",
    "ss_optimizer": "adafactor",
    "sshs_model_hash": "0" * 64,
}


def file_of(metadata: dict[str, str], folder: Path) -> Path:
    write_tensors(TENSORS, folder / "x.safetensors", metadata)
    return folder / "x.safetensors"


def ours(folder: Path, *words: str) -> Path:
    config = compose_config(["recipe=demo", *words])
    label = Label(
        title="mug",
        trigger="zubo",
        base="mini",
        architecture="flux-1-dev",
        programs=PROGRAMS,
        date="2026-11-21T10:00:00",
        resolution=128,
        recipe=json.dumps(asdict(config), default=str),
        dataset="f" * 64,
        versions={"torch": "2.13.0", "peft": "0.21.2"},
        scores=json.dumps({"step": 1125, "strength": 0.9}),
        images=15,
    )
    return file_of(metadata_of(label, Adapter({"a": LoRA(torch.ones(2, 4), torch.ones(4, 2), 2.0)})), folder)


def test_our_recipe_comes_back_whole(tmp_path: Path):
    recipe = yaml.safe_load(read_reproduction(ours(tmp_path), {}).recipe)
    assert recipe["train"] == json.loads(json.dumps(asdict(compose_config(["recipe=demo"]).train)))
    assert recipe["data"]["folder"] == "product"


def test_what_is_not_in_the_file_is_listed(tmp_path: Path):
    file = ours(tmp_path, "model.path=org/base", "model.revision=abc123")
    needs = "\n".join(read_reproduction(file, {"torch": "2.13.0", "peft": "0.20.0"}).needs)
    for said in ("15 photos", "'product'", "ffffffffffff", "'org/base', revision abc123", "peft 0.21.2 (here 0.20.0)"):
        assert said in needs
    assert "torch 2.13.0;" in needs or "torch 2.13.0\n" in needs
    assert "step 1125" in needs and "strength 0.9" in needs


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "which ships with flux_lora"),
        (
            ("model.path=/home/jane/models/FLUX.1-dev",),
            "a folder of its maker's called 'FLUX.1-dev': set model.path",
        ),
        (("model.path=org/base",), "'org/base', the main branch as of 2026-11-21"),
        (
            ("model.scorer=/home/jane/clip", "adapter.start=/x/old.safetensors"),
            "model.scorer (clip), adapter.start",
        ),
        (("data.held_out_images=4",), "and those that were held out (up to 4 of the same folder)"),
    ],
)
def test_what_lies_on_its_makers_machine_is_told_from_what_can_be_fetched(
    tmp_path: Path, words: tuple[str, ...], said: str
):
    """A folder once had a main branch."""
    assert said in "\n".join(read_reproduction(ours(tmp_path, *words), {}).needs)


def test_of_a_kohya_file_its_own_words_and_the_numbers_that_mean_the_same_are_told(tmp_path: Path):
    found = read_reproduction(file_of(KOHYA, tmp_path), {})
    assert found.recipe == "" and found.said["ss_optimizer"] == "adafactor"
    assert found.start == (
        "adapter.rank=32",
        "adapter.alpha=16.0",
        "train.steps=1600",
        "train.learning_rate=0.0004",
        "data.resolution=1024",
    )
    assert "sshs_model_hash" not in found.said


@pytest.mark.parametrize(
    "recipe", ["[1]", "{", "[" * 100_000, '{"a":' * 900 + "1" + "}" * 900, json.dumps({"a": "x" * 300_000})]
)
def test_a_recipe_that_cannot_be_one_is_refused(recipe: str, tmp_path: Path):
    with pytest.raises(AdapterFileError, match="recipe") as refused:
        read_reproduction(file_of({"flux_lora.recipe": recipe}, tmp_path), {})
    assert len(refused.value.problem) < 400 + len(str(tmp_path))


def test_odd_but_readable_recipes_are_given_back_as_they_are(tmp_path: Path):
    odd = {"data": "\x1b[2J \ud800", "model": [1, None], "hardware": {"device": {"a": 1}}}
    found = read_reproduction(file_of({"flux_lora.recipe": json.dumps(odd)}, tmp_path), {})
    assert yaml.safe_load(found.recipe)["model"] == [1, None] and "\x1b" not in found.recipe
    found.recipe.encode()
