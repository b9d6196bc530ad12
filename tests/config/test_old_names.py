"""Keys of earlier versions are taken by the name they have now, said once, and never an error.

old_recipe.yaml is a run folder's recipe as write_recipe wrote it at 95017fd, before knobs were renamed.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from flux_lora.__main__ import answer
from flux_lora.adapter.files import write_tensors
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.adapter.metadata import Label, metadata_of
from flux_lora.commands.reproduce import reproduce
from flux_lora.config.choices import Device
from flux_lora.config.compose import (
    RECIPE_FILE,
    changes_of_this_job,
    compose_config,
    read_recipe,
    read_request,
    reopen,
    through_hydra,
)
from flux_lora.config.file_verbs import ReproduceArgs
from flux_lora.config.knobs import RENAMED, all_knobs
from flux_lora.config.old_names import say_renamed, with_new_names
from flux_lora.config.schema import RunConfig
from flux_lora.errors import ConfigError
from flux_lora.models.flux1.programs import PROGRAMS

OLD_RECIPE = Path(__file__).with_name("old_recipe.yaml")
VALUES = {
    "train.clip": 0.5,
    "train.schedule": "constant",
    "train.time_shift": 1.5,
    "train.time_mean": 0.2,
    "train.time_std": 0.9,
    "train.memories": 8,
    "model.text_tokens": 48,
    "data.most_enlarged": 1.5,
    "data.allow_crop": 0.125,
}
PHOTOS = ("data.folder=photos/mug", "data.trigger=zorb", "data.class_word=mug")

by_old_name = pytest.mark.parametrize(("old", "new"), RENAMED.items(), ids=str)


@pytest.fixture(autouse=True)
def nothing_said_yet() -> Iterator[None]:
    say_renamed.cache_clear()
    yield
    say_renamed.cache_clear()


@pytest.fixture
def old_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "mug"
    folder.mkdir(parents=True)
    shutil.copy(OLD_RECIPE, folder / RECIPE_FILE)
    return folder


def own_recipe(folder: Path, text: str, group: str = "recipe") -> Path:
    (folder / group).mkdir(exist_ok=True)
    (folder / group / "mine.yaml").write_text(text)
    return folder


def value_of(config: object, key: str) -> object:
    for name in key.split("."):
        config = vars(config)[name]
    return config


def go_on(config: RunConfig) -> None:
    from flux_lora.runs.run import Run

    Run(replace(config, hardware=replace(config.hardware, device=Device.cpu))).begin()


def old_name_lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if " is called " in line]


def test_the_table_leads_from_names_that_are_gone_to_names_that_are_there():
    known = {knob.key for knob in all_knobs()}
    assert set(RENAMED.values()) <= known
    assert not set(RENAMED) & known
    assert RENAMED.keys() == VALUES.keys()
    assert all(old.split(".")[0] == new.split(".")[0] for old, new in RENAMED.items()), "a section stays the same"


@by_old_name
@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_on_the_command_line(old: str, new: str, plus: str, capsys: pytest.CaptureFixture[str]):
    config = compose_config(["recipe=demo", f"{plus}{old}={VALUES[old]}"])
    assert value_of(config, new) == VALUES[old]
    assert capsys.readouterr().err == f"{old} is called {new} now\n"


@by_old_name
def test_in_a_recipe_of_the_user(old: str, new: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    section, _, leaf = old.partition(".")
    text = f"# @package _global_\ndefaults: [demo]\n{section}: {{{leaf}: {VALUES[old]}}}\n"
    config = compose_config(["recipe=mine"], config_dir=own_recipe(tmp_path, text))
    assert value_of(config, new) == VALUES[old]
    assert capsys.readouterr().err == f"{old} is called {new} now\n"


@by_old_name
def test_in_an_old_run_folder(old: str, new: str, old_folder: Path, capsys: pytest.CaptureFixture[str]):
    stored = OmegaConf.select(OmegaConf.load(OLD_RECIPE), old)
    assert stored is not None
    assert value_of(read_recipe(old_folder / RECIPE_FILE), new) == stored
    assert value_of(reopen(old_folder, []), new) == stored
    assert capsys.readouterr().err.splitlines().count(f"{old} is called {new} now") == 1


def test_it_is_said_once_however_often_it_is_read(old_folder: Path, capsys: pytest.CaptureFixture[str]):
    for _ in range(3):
        reopen(old_folder, ["train.clip=0.25"])
    assert len(old_name_lines(capsys.readouterr().err)) == len(RENAMED)


def test_the_complete_old_recipe_is_this_versions(old_folder: Path):
    """Leaf by leaf: nothing else was renamed and no value is lost."""
    old = OmegaConf.to_container(OmegaConf.load(OLD_RECIPE))
    now = json.loads(json.dumps(asdict(read_recipe(old_folder / RECIPE_FILE))))
    assert isinstance(old, dict)
    for section, values in old.items():
        for leaf, value in values.items() if isinstance(values, dict) else ():
            key = RENAMED.get(f"{section}.{leaf}", f"{section}.{leaf}").partition(".")[2]
            if (section, leaf) != ("run", "dir"):
                assert now[section][key] == value, (section, leaf)


def test_an_old_run_is_gone_on_with(old_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(old_folder.parents[1])
    again = compose_config(
        [
            "recipe=product", *PHOTOS, "run.dir=runs/mug", "train.logit_mean=0.1", "train.lr_scheduler=constant",
            "data.max_upscale=1.2", "data.sources=[{path: photos/cups, role: regularisation}]",
        ]
    )  # fmt: skip
    go_on(again)
    text = (old_folder / RECIPE_FILE).read_text()
    assert "max_grad_norm: 1.0" in text and "\n  clip:" not in text
    go_on(reopen(old_folder, []))


def test_an_old_run_is_gone_on_with_by_the_command_it_was_begun_with(old_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(old_folder.parents[1])
    again = compose_config(
        [
            "recipe=product", *PHOTOS, "run.dir=runs/mug", "train.time_mean=0.1", "train.schedule=constant",
            "data.most_enlarged=1.2", "data.sources=[{path: photos/cups, role: regularisation}]",
        ]
    )  # fmt: skip
    go_on(again)


def test_a_reopened_old_run_takes_the_new_name_on_top(old_folder: Path):
    assert reopen(old_folder, ["train.max_grad_norm=0.25"]).train.max_grad_norm == 0.25
    assert reopen(old_folder, ["train.clip=0.5"]).train.max_grad_norm == 0.5


def test_in_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    jobs: list[tuple[str, ...]] = []
    request = read_request(["recipe=demo", "train.clip=0.5,1.0", "-m"])
    through_hydra(request, job=lambda _: jobs.append(changes_of_this_job()))
    assert [compose_config(job).train.max_grad_norm for job in jobs] == [0.5, 1.0]
    assert jobs[0][-1] == "run.dir='runs/demo-train.max_grad_norm=0.5'"


def test_in_a_sweep_that_a_recipe_describes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    text = "# @package _global_\ndefaults: [demo]\nhydra: {sweeper: {params: {train.clip: '0.5,1.0'}}}\n"
    own = own_recipe(tmp_path, text)
    jobs: list[tuple[str, ...]] = []
    request = read_request(["recipe=mine", "--config-dir", str(own), "-m"])
    through_hydra(request, job=lambda _: jobs.append(changes_of_this_job()))
    assert [compose_config(job, config_dir=own).train.max_grad_norm for job in jobs] == [0.5, 1.0]


def test_in_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    own = own_recipe(tmp_path, "# @package _global_\ndefaults: [demo]\ntrain: {memories: 7}\n")
    answer(["train", "recipe=mine", "train.clip=0.5", "--config-dir", str(own), "--cfg", "job"])
    printed = capsys.readouterr()
    assert "max_grad_norm: 0.5" in printed.out and "class_images: 7" in printed.out
    assert "clip:" not in printed.out and "memories" not in printed.out
    assert len(old_name_lines(printed.err)) == 2


def test_in_a_group_file_of_the_user(tmp_path: Path):
    text = "defaults: [mini]\ntext_tokens: 48\n"
    config = compose_config(["recipe=demo", "model=mine"], config_dir=own_recipe(tmp_path, text, group="model"))
    assert config.model.max_sequence_length == 48


def test_in_a_reference(tmp_path: Path):
    text = "# @package _global_\ndefaults: [demo]\ntrain: {clip: 0.5, weight_decay: '${train.clip}'}\n"
    config = compose_config(["recipe=mine", "train.time_std=${train.clip}"], config_dir=own_recipe(tmp_path, text))
    assert config.train.weight_decay == config.train.logit_std == 0.5


def test_the_command_line_goes_before_the_recipe_whichever_name_each_uses(tmp_path: Path):
    own = own_recipe(tmp_path, "# @package _global_\ndefaults: [demo]\ntrain: {clip: 0.5}\n")
    assert compose_config(["recipe=mine", "train.max_grad_norm=0.25"], config_dir=own).train.max_grad_norm == 0.25
    assert compose_config(["recipe=mine", "train.clip=0.125"], config_dir=own).train.max_grad_norm == 0.125


def test_a_file_of_the_user_stays_as_it_is(tmp_path: Path):
    text = "# @package _global_\ndefaults: [demo]\ntrain: {clip: 0.5}  # mine\n"
    own = own_recipe(tmp_path, text)
    compose_config(["recipe=mine"], config_dir=own)
    assert (own / "recipe" / "mine.yaml").read_text() == text
    assert [file.name for file in own.rglob("*")] == ["recipe", "mine.yaml"]


@pytest.mark.parametrize("plus", ["", "+"])
def test_both_names_on_the_command_line_are_refused(plus: str):
    with pytest.raises(ConfigError) as caught:
        compose_config(["recipe=demo", f"{plus}train.clip=0.5", "train.max_grad_norm=1"])
    assert caught.value.problem == "train.clip is called train.max_grad_norm now, and both are given"
    assert caught.value.fix == "remove train.clip, and keep train.max_grad_norm"


def test_both_names_in_one_recipe_are_refused(tmp_path: Path):
    text = "# @package _global_\ndefaults: [demo]\ntrain: {clip: 0.5, max_grad_norm: 0.5}\n"
    with pytest.raises(ConfigError) as caught:
        compose_config(["recipe=mine"], config_dir=own_recipe(tmp_path, text))
    assert caught.value.problem == "recipe/mine: train.clip is called train.max_grad_norm now, and both are given"
    assert caught.value.fix == "remove train.clip, and keep train.max_grad_norm"


def test_both_names_in_a_run_folder_are_refused(old_folder: Path):
    file = old_folder / RECIPE_FILE
    file.write_text(file.read_text().replace("  clip: 1.0\n", "  clip: 1.0\n  max_grad_norm: 1.0\n"))
    with pytest.raises(ConfigError) as caught:
        read_recipe(file)
    assert caught.value.problem.startswith(f"{file}: train.clip is called train.max_grad_norm now")


def test_an_old_name_inside_a_section_given_as_a_whole_is_answered_with_the_new_one():
    with pytest.raises(ConfigError) as caught:
        compose_config(["recipe=demo", "train={clip: 0.5}"])
    assert "train.max_grad_norm" in caught.value.problem + caught.value.fix


def test_the_recipe_in_an_old_lora_composes_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    old = OmegaConf.to_container(OmegaConf.load(OLD_RECIPE))
    label = Label(
        title="mug",
        trigger="zorb",
        base="mini",
        architecture="flux-1-dev",
        programs=PROGRAMS,
        date="2026-10-01",
        resolution=768,
        recipe=json.dumps(old),
    )
    layer = "transformer_blocks.0.attn.to_q"
    pair = LoRA(torch.ones(2, 4), torch.ones(4, 2), 2.0)
    tensors = {f"transformer.{layer}.lora_A.weight": pair.down, f"transformer.{layer}.lora_B.weight": pair.up}
    write_tensors(tensors, tmp_path / "mug.safetensors", metadata_of(label, Adapter({layer: pair})))
    again = tmp_path / "again"
    again.mkdir()
    assert reproduce(ReproduceArgs(file=str(tmp_path / "mug.safetensors"), out=str(again / RECIPE_FILE))) == 0
    assert "to mend" not in capsys.readouterr().out
    made_again, before = reopen(again, []), read_recipe(OLD_RECIPE)
    assert made_again.train == before.train
    assert replace(made_again.data, folder="", sources=()) == replace(before.data, folder="", sources=())


def test_completion_says_nothing_of_old_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    own = own_recipe(tmp_path, "# @package _global_\ndefaults: [demo]\ntrain: {clip: 0.5}\n")
    monkeypatch.setenv("COMP_LINE", f"flux-lora train --config-dir {own} recipe=mine train.max_gr")
    answer(["-sc", "query=bash", "--config-dir", str(own)])
    printed = capsys.readouterr()
    assert "train.max_grad_norm=" in printed.out and not printed.err


def test_what_has_no_old_name_is_left_as_it_is():
    tree = {"train": {"steps": 3, "note": "${train.steps}"}, "clip": 1, "train.clip ": [{"clip": 2}, "a"], 7: "???"}
    assert with_new_names(tree, where="") == tree
