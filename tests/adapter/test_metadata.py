"""What an exported file says about itself."""

import json
from dataclasses import replace

import torch

from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.adapter.metadata import Label, metadata_of
from flux_lora.models.flux1.programs import PROGRAMS

RECIPE = {
    "run": {"dir": "/home/jane/runs/mug"},
    "data": {"folder": "/home/jane/photos/mug/", "sources": [{"path": "C:\\Users\\Jane\\set"}, {"path": "org/set"}]},
    "train": {"steps": 1500, "learning_rate": 1e-4, "optimizer": "adamw"},
}
LABEL = Label(
    title="mug",
    trigger="zkmug",
    class_word="mug",
    base="black-forest-labs/FLUX.1-dev",
    architecture="flux-1-dev",
    programs=PROGRAMS,
    date="2026-11-21",
    resolution=768,
    licence="flux-1-dev-non-commercial-license",
    recipe=json.dumps(RECIPE),
    versions={"torch": "2.13.0", "diffusers": "0.42.1"},
    tags=("product", "mug"),
    images=16,
    strength=0.9,
)


def adapter(*ranks: int) -> Adapter:
    return Adapter({str(rank): LoRA(torch.ones(rank, 3), torch.ones(3, rank), 2.0 * rank) for rank in ranks})


FACTS = metadata_of(LABEL, adapter(8))


def test_every_value_is_text_and_none_is_empty():
    assert all(isinstance(value, str) and value for value in FACTS.values())


def test_the_words_that_other_programs_look_for_are_there():
    assert FACTS["modelspec.architecture"] == "flux-1-dev/lora"
    assert FACTS["modelspec.trigger_phrase"] == "zkmug"
    assert FACTS["modelspec.resolution"] == "768x768"
    assert FACTS["modelspec.tags"] == "product, mug"
    assert FACTS["flux_lora.alpha"] == "16"
    assert json.loads(FACTS["flux_lora.versions"]) == {"torch": "2.13.0", "diffusers": "0.42.1"}


def test_the_hint_says_the_strength_and_the_words():
    assert FACTS["modelspec.usage_hint"] == "Load it at strength 0.9 and write 'zkmug mug' in the prompt."


def test_the_base_s_limit_on_commerce_is_handed_on():
    assert FACTS["flux_lora.non_commercial"] == "true"
    free = replace(LABEL, licence="apache-2.0")
    assert metadata_of(free, adapter(8))["flux_lora.non_commercial"] == "false"
    unsaid = replace(LABEL, licence="")
    assert "flux_lora.non_commercial" not in metadata_of(unsaid, adapter(8))


def test_settings_are_told_in_the_words_of_sd_scripts():
    assert (FACTS["ss_max_train_steps"], FACTS["ss_learning_rate"], FACTS["ss_optimizer"]) == (
        "1500",
        "0.0001",
        "adamw",
    )
    assert json.loads(FACTS["ss_tag_frequency"]) == {"mug": {"zkmug": 16}}
    assert "ss_seed" not in FACTS


def test_a_published_file_does_not_tell_where_its_maker_keeps_photos():
    told = json.loads(FACTS["flux_lora.recipe"])
    assert "jane" not in json.dumps(FACTS).lower()
    assert told["data"] == {"folder": "mug", "sources": [{"path": "set"}, {"path": "org/set"}]}
    assert told["train"] == RECIPE["train"]


def test_mixed_alphas_are_called_dynamic():
    assert metadata_of(LABEL, adapter(4, 8))["flux_lora.alpha"] == "Dynamic"


def test_nothing_that_diffusers_builds_a_config_from_is_written():
    assert "lora_adapter_metadata" not in FACTS


def test_a_shift_of_each_size_is_no_number():
    recipe: dict[str, dict[str, object]] = {"train": {"shift": 1.0, "dynamic_shift": True}}
    facts = metadata_of(replace(LABEL, recipe=json.dumps(recipe)), adapter(8))
    assert "ss_discrete_flow_shift" not in facts
    recipe["train"]["dynamic_shift"] = False
    assert metadata_of(replace(LABEL, recipe=json.dumps(recipe)), adapter(8))["ss_discrete_flow_shift"] == "1.0"
