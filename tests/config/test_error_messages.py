"""What a person reads after a slip on the command line."""

import pytest

from flux_lora.config.compose import compose_config
from flux_lora.errors import ConfigError

SLIPS = [
    ("adapter.rnk=3", "there is no knob 'adapter.rnk'", "did you mean 'adapter.rank'?"),
    ("+adapter.rnk=3", "there is no knob 'adapter.rnk'", "did you mean 'adapter.rank'?"),
    ("colour=red", "there is no knob 'colour'", "flux-lora train --help"),
    ("adapter.targets=atention", "adapter.targets cannot be 'atention'", "did you mean adapter.targets=attention?"),
    ("train.steps=many", "train.steps cannot be 'many'", "give a whole number"),
    ("strict=perhaps", "strict cannot be 'perhaps'", "give true or false"),
    ("preview.prompts=3", "preview.prompts cannot be that", "give a list"),
    ("export.dialects=[komfy]", "export.dialects cannot be", "did you mean export.dialects=[comfyui]?"),
    ("model=flux_dv", "there is no model 'flux_dv'", "did you mean model=flux_dev?"),
    (
        "model=zzz",
        "there is no model 'zzz'",
        "model is one of: flux2_dev, flux2_klein_4b, flux2_klein_9b, flux3_klein, flux_dev, flux_",
    ),
    ("adapter=3", "adapter is a section of knobs", "such as adapter.kind=<value>"),
    ("~adapter.rank", "would remove a knob", "give it a value: adapter.rank=<value>"),
    ("data.trigger=[a", "'data.trigger=[a' cannot be read", "quote the value"),
    ("data.folder=${nope}", "'nope' not found", "--cfg job"),
    ("adapter.rank=1,2", "adapter.rank=1,2", "--multirun"),
    ("bla", "'bla' is neither a flag nor key=value", "write key=value"),
    ("rank", "'rank' is neither a flag nor key=value", "did you mean adapter.rank=<value>?"),
    (
        "data.sources=[{path: a, repeat: 3}]",
        "an element of data.sources has no key 'repeat'",
        "did you mean 'repeats'? There are: path, role, repeats",
    ),
    ("data.sources=[{path: a, flurb: 3}]", "data.sources has no key 'flurb'", "its keys are: path, role, repeats"),
    ("data.sources=[{path: a, repeats: many}]", "in data.sources, repeats cannot be 'many'", "give a whole number"),
    (
        "data.sources=[{path: a, role: regularization}]",
        "in data.sources, role cannot be 'regularization'",
        "did you mean role=regularisation?",
    ),
    ("data.sources=[photos]", "data.sources[0] cannot be 'photos'", "with its keys: data.sources=[{path: <value>}]"),
    ("data.sources=[{repeats: 3}]", "data.sources[0].path has no value", "write path: <value> into data.sources[0]"),
    ("check.off=[{rle: blurred, reason: x}]", "an element of check.off has no key 'rle'", "did you mean 'rule'?"),
    ("--multrun", "'--multrun' is neither a flag nor key=value", "did you mean --multirun?"),
]


@pytest.mark.parametrize(("typed", "problem", "fix"), SLIPS, ids=[slip[0] for slip in SLIPS])
def test_a_slip_is_answered_with_what_was_meant(typed: str, problem: str, fix: str):
    with pytest.raises(ConfigError) as caught:
        compose_config(["recipe=demo", typed])
    assert problem in caught.value.problem
    assert fix in caught.value.fix


def test_a_recipe_has_to_be_named_and_all_are_listed():
    with pytest.raises(ConfigError) as caught:
        compose_config([])
    listed = caught.value.fix.removeprefix("add one of: ").split(", ")
    assert {"recipe=character", "recipe=demo", "recipe=product_quick", "recipe=style"} <= set(listed)
    assert not [each for each in listed if "@" in each], "frozen versions are not for a first run"


def test_knobs_that_only_a_person_can_know_are_asked_for_together():
    with pytest.raises(ConfigError) as caught:
        compose_config(["recipe=product", "data.trigger=zorb"])
    assert caught.value.problem == "data.class_word and data.folder have no value"
    assert "data.folder=<your folder of photos" in caught.value.fix
