"""Every YAML that ships is composed, by the command that it opens with."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from flux_lora.config.compose import compose_config

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
FILES = sorted(RECIPES.rglob("*.yaml"))
COUNT = 18
"""Recipes 4, models 8, hardware 2, trackers 4. Another one is a decision."""
BY_HAND = ("data.folder=photos", "data.trigger=zorb", "data.class_word=mug")

by_file = pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")


def keys_of(file: Path) -> set[str]:
    """The dotted keys that a file sets, wherever its package puts them."""
    text = file.read_text(encoding="utf-8")
    prefix = "" if "@package _global_" in text else f"{file.parent.name}."
    return {prefix + key for key in leaves(OmegaConf.to_container(OmegaConf.create(text))) if key != "defaults"}


def leaves(tree: object, path: str = "") -> Iterator[str]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from leaves(value, f"{path}.{key}".strip("."))
    else:
        yield path


def test_no_recipe_escapes_these_tests():
    assert len(FILES) == COUNT


@by_file
def test_a_file_opens_with_a_command_that_composes(file: Path):
    commands = re.findall(r"^#\s+flux-lora \w+ (.*)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert commands
    for command in commands:
        assert compose_config(shlex.split(command))


@by_file
def test_a_file_composes_with_every_recipe_it_can_meet(file: Path):
    if file.parent.name == "recipe":
        assert compose_config([f"recipe={file.stem}", *BY_HAND])
    else:
        assert compose_config(["recipe=product", f"{file.parent.name}={file.stem}", *BY_HAND])


def test_recipes_and_the_groups_below_them_set_different_keys():
    recipes = [file for file in FILES if file.parent.name == "recipe"]
    below = [file for file in FILES if file.parent.name != "recipe"]
    both = {
        (recipe.stem, file.stem): shared
        for recipe in recipes
        for file in below
        if (shared := keys_of(recipe) & keys_of(file))
    }
    assert not both, "a recipe would silently win over the group file"


def test_model_hardware_and_tracker_files_set_different_keys():
    groups = {file.parent.name for file in FILES} - {"recipe"}
    keys = {group: set().union(*(keys_of(file) for file in FILES if file.parent.name == group)) for group in groups}
    for group in groups:
        others = set().union(*(keys[other] for other in groups if other != group))
        assert not keys[group] & others


@by_file
def test_alpha_follows_the_rank(file: Path):
    if file.parent.name == "recipe" and file.stem != "photos":  # which trains nothing
        config = compose_config([f"recipe={file.stem}", *BY_HAND, "adapter.rank=24"])
        assert config.adapter.alpha == 24


def test_a_recipe_names_its_run_folder_by_itself():
    assert compose_config(["recipe=demo"]).run.dir == "runs/demo"


def test_the_demo_reads_the_template_that_ships():
    folder = Path(compose_config(["recipe=demo"]).data.folder)
    assert folder.is_dir()
    assert folder.parent.name == "data_templates"


def test_the_demo_asks_for_the_word_that_its_captions_say():
    asked = compose_config(["recipe=demo"]).data
    captions = [file.read_text(encoding="utf-8") for file in Path(asked.folder).glob("*_*.txt")]
    assert captions
    assert all({asked.trigger, asked.class_word} <= set(re.findall(r"\w+", caption)) for caption in captions)
