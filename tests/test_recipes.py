"""Every YAML that ships is composed, by the command that it opens with."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from flux_lora.config.compose import compose_config, flat_settings

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
FILES = sorted(RECIPES.rglob("*.yaml"))
COUNT = 37
"""Recipes 22, models 9, hardware 2, trackers 4. Another one is a decision."""
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


SUBJECTS = ("product", "character", "style")
LENGTHS = ("_quick", "", "_thorough")
FROZEN = json.loads((Path(__file__).parent / "frozen_recipes.json").read_text(encoding="utf-8"))
"""What each recipe=<name>@<version> resolves to, of the sections that decide what is trained and on what."""
DECIDE = ("adapter.", "train.", "data.")


def resolved(recipe: str) -> dict[str, str]:
    settings = flat_settings(compose_config([f"recipe={recipe}", *BY_HAND]))
    return {key: str(value) for key, value in settings.items() if key.startswith(DECIDE)}


def test_every_subject_comes_in_three_lengths_each_of_them_frozen():
    stems = {file.stem for file in FILES if file.parent.name == "recipe"}
    wanted = {f"{subject}{length}" for subject in SUBJECTS for length in LENGTHS}
    assert wanted <= stems
    assert {stem for stem in stems if "@" in stem} == set(FROZEN)
    assert {stem.partition("@")[0] for stem in FROZEN} == wanted


@pytest.mark.parametrize("name", FROZEN)
def test_a_frozen_recipe_resolves_to_what_it_did(name: str):
    """A default that changes has to be written into the frozen files as it was; a knob that is new may come."""
    now = resolved(name)
    assert {key: now.get(key) for key in FROZEN[name]} == FROZEN[name]


@pytest.mark.parametrize("name", FROZEN)
def test_a_frozen_recipe_leans_on_no_other_that_may_change(name: str):
    tree = OmegaConf.load(RECIPES / "recipe" / f"{name}.yaml")
    assert all("override" in str(each) for each in tree.defaults)


RANGES = {
    "product": {"adapter.rank": (16, 32), "train.learning_rate": (1e-4, 2e-4), "train.shift": (1.5, 2.0)},
    "character": {"adapter.rank": (16, 32), "train.learning_rate": (1e-4, 2e-4), "train.shift": (1.0, 1.8)},
    "style": {"adapter.rank": (8, 32), "train.learning_rate": (1e-4, 4e-4), "train.caption_dropout": (0.1, 0.1)},
}
"""What practitioners' recipes for FLUX.1-dev agree on, by subject."""
LOOKS = {"product": (20, 50, 120), "character": (18, 55, 120), "style": (40, 30, 60)}
"""Images of a usual set, and the exposures of each that work, at the least and at the most."""


@pytest.mark.parametrize("subject", SUBJECTS)
@pytest.mark.parametrize("length", LENGTHS)
def test_the_values_lie_within_what_practitioners_agree_on(subject: str, length: str):
    config = compose_config([f"recipe={subject}{length}", *BY_HAND])
    settings = flat_settings(config)
    for key, (low, high) in RANGES[subject].items():
        assert low <= float(settings[key]) <= high, key
    images, least, most = LOOKS[subject]
    assert least <= config.train.steps * config.train.batch_size / images <= most
    assert config.adapter.alpha == config.adapter.rank and config.train.learning_rate * config.train.steps <= 0.25
    assert config.train.learning_rate <= 1e-4 or config.train.steps <= 1000
    assert (config.train.preservation > 0) == (subject != "style") == (not config.train.dynamic_shift)
    assert config.train.save_every * 10 == config.train.steps and config.train.max_grad_norm == 1.0
    assert config.model.train_guidance == 1.0 and max(config.data.resolution, *config.data.more_resolutions, 0) <= 1024


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
