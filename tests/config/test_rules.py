"""Rules between knobs."""

import pytest

from flux_lora.config.choices import ExportDialect
from flux_lora.config.compose import compose_config
from flux_lora.config.rules import broken_export, broken_rules, without_effect
from flux_lora.config.schema import ExportConfig
from flux_lora.errors import ConfigError


def problem_with(*overrides: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        compose_config(["recipe=demo", *overrides])
    return caught.value


def test_a_recipe_that_ships_breaks_no_rule():
    assert list(broken_rules(compose_config(["recipe=demo"]))) == []


@pytest.mark.parametrize(
    ("override", "problem", "fix"),
    [
        (
            "data.resolution=-16",
            "data.resolution or one of data.more_resolutions is not above 0",
            "set data.resolution",
        ),
        ("preview.size=-16", "preview.size is -16", "set preview.size=0"),
        ("adapter.rank=0", "adapter.rank is 0", "set adapter.rank to 1 or more (16 is a good start)"),
        ("train.learning_rate=-1", "train.learning_rate is -1", "set train.learning_rate above 0"),
        ("train.save_every=9999", "nothing would be saved midway", "set train.save_every to 75"),
        ("train.warmup_steps=300", "the full rate would never be reached", "set train.warmup_steps to 15"),
        ("train.caption_dropout=5", "not a share between 0 and 1", "set train.caption_dropout=0.05"),
        ("train.optimizer=adamw8bit", "needs CUDA", "set train.optimizer=adamw"),
        ("adapter.kind=dora", "no file can hold at another strength than 1", "set evaluate.strengths=[1.0]"),
        ("train.preservation=-1", "train.preservation is -1", "set train.preservation to 0 or more"),
        ("train.max_drift=-1", "train.max_drift is -1", "set train.max_drift to 0 or more"),
        ("train.preservation_every=0", "train.preservation_every is 0", "set train.preservation_every to 1 or more"),
        ("train.mode_scale=2", "train.mode_scale is 2", "to 1.75 at most"),
        ("train.unshifted_share=0.3", "no sigma is shifted", "set train.dynamic_shift=true"),
        ("train.beta_alpha=0", "train.beta_alpha is 0", "set train.beta_alpha above 0"),
        ("data.trigger=Mug", "the class itself would be overwritten", "choose a rare word"),
        ("evaluate.strengths=[0]", "has 0: an adapter is judged above 0", "set evaluate.strengths=[0.8,1.0]"),
        ("evaluate.strengths=[1,80]", "has 80: an adapter is judged above 0, and to 2", "set evaluate.strengths"),
        ("evaluate.strengths=[-1]", "has -1", "set evaluate.strengths"),
        ("data.held_out_images=1", "judging takes 2", "set it to 2 or more"),
        ("data.held_out_images=-3", "judging takes 2", "set it to 2 or more"),
        ("evaluate.strengths=[]", "no checkpoint could be chosen", "set evaluate.strengths=[1.0]"),
        ("hardware.threads=-2", "hardware.threads is -2", "set hardware.threads to 0"),
        ("export.dialects=[]", "nothing would be exported", "set export.dialects=[diffusers]"),
        ("export.dialects=[kohya,kohya]", "names one twice: kohya, kohya", "name each once"),
        ("export.dialects=[peft]", "made for a file", "set export.dialects=[diffusers,peft]"),
        ("data.trigger=a/b", "cannot be a file's name", "set export.name"),
        ("export.file=mug.pt", "export.file is 'mug.pt'", "set export.file=mug.pt.safetensors"),
        ("export.name=a/b", "export.name is 'a/b', a path", "put the folder into export.dir"),
        ("export.push_to_hub=mug", "'mug', not a name on the hub", "set export.push_to_hub=org/name"),
        ("export.push_to_hub=a/b/c", "'a/b/c', not a name on the hub", "set export.push_to_hub=org/name"),
        ("export.public=true", "export.public is true, and nothing is pushed", "set export.push_to_hub=org/name"),
        ("export.dry_run=true", "export.dry_run is true, and nothing is pushed", "set export.push_to_hub=org/name"),
    ],
)
def test_a_broken_rule_names_the_value_and_the_way_out(override: str, problem: str, fix: str):
    known = ("train.steps=300", "train.save_every=100", "train.warmup_steps=20", "data.class_word=mug")
    error = problem_with(*known, override)
    assert problem in error.problem
    assert fix in error.fix


@pytest.mark.parametrize(
    ("overrides", "problem", "fix"),
    [
        (("adapter.kind=lokr", "adapter.start=x.safetensors"), "begins from a LoRA", "set adapter.kind=lora"),
        (("adapter.kind=dora", "train.optimizer=muon"), "muon takes matrices only", "set train.optimizer=adamw"),
        (("adapter.kind=loha", "hardware.quantize=nf4"), "peft has not for it", "set hardware.quantize=int8"),
    ],
)
def test_what_a_kind_of_adapter_cannot_do_is_refused(overrides: tuple[str, ...], problem: str, fix: str):
    error = problem_with("evaluate.strengths=[1.0]", *overrides)
    assert problem in error.problem and fix in error.fix


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("train.sigma_sampling=uniform", "train.logit_mean=-0.5"),
            "train.logit_mean does nothing without train.sigma",
        ),
        (("train.mode_scale=1.0",), "train.mode_scale does nothing without train.sigma_sampling=mode"),
        (("train.beta_beta=0.9",), "train.beta_beta does nothing without train.sigma_sampling=beta"),
        (("train.huber_c=0.2",), "train.huber_c does nothing without train.loss_type=huber"),
        (("train.preservation=0",), "train.class_images is 24, and none are made"),
        (("data.crop=random",), "each image has one crop for the whole run"),
    ],
)
def test_a_knob_that_does_nothing_is_said(words: tuple[str, ...], said: str):
    recipe = ["recipe=product", "data.folder=photos", "data.trigger=zorb", "data.class_word=mug"]
    assert list(without_effect(compose_config(recipe))) == []
    assert any(said in line for line in without_effect(compose_config([*recipe, *words])))


def test_all_broken_rules_are_said_at_once():
    error = problem_with("data.resolution=0", "train.max_grad_norm=0", "train.batch_size=0")
    assert len(error.problem.splitlines()) == len(error.fix.splitlines()) == 3


BOTH = (ExportDialect.diffusers, ExportDialect.kohya)


@pytest.mark.parametrize(
    ("export", "problem"),
    [
        (
            ExportConfig(dialects=BOTH, file="mug.safetensors"),
            "export.file is one file, and export.dialects are several",
        ),
        (ExportConfig(dialects=(ExportDialect.peft,), file="mug.safetensors"), "peft is a folder"),
        (ExportConfig(name="a\\b"), "a path"),
    ],
)
def test_what_an_export_cannot_be_is_said(export: ExportConfig, problem: str):
    (broken,) = broken_export(export)
    assert problem in broken[0] and broken[1]


@pytest.mark.parametrize(
    "export",
    [
        ExportConfig(),
        ExportConfig(dialects=tuple(ExportDialect), dir="out", name="mug v1.5"),
        ExportConfig(dialects=(ExportDialect.peft,), file="mug"),
        ExportConfig(push_to_hub="me/mug", public=True, dry_run=True, bundle=True),
    ],
)
def test_an_export_that_can_be_breaks_no_rule(export: ExportConfig):
    assert not list(broken_export(export))
