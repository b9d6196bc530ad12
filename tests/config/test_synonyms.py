"""Options of other trainers are answered with the knob that is meant here, or with why there is none."""

import re
from pathlib import Path

import pytest

from flux_lora.config.compose import compose_config
from flux_lora.config.knobs import SYNONYMS, all_knobs, synonym_of
from flux_lora.errors import ConfigError

KNOBS = {knob.key for knob in all_knobs()}
ASKED_FOR = """
    lr max_train_steps num_train_epochs epochs network_dim network_alpha instance_prompt class_prompt output_dir
    max_grad_norm resume_from_checkpoint report_to log_with mixed_precision ema_decay use_ema validation_prompt
    sample_prompts sample_every discrete_flow_shift timestep_sampling weighting_scheme guidance_scale num_class_images
    reg_data_dir prior_loss_weight with_prior_preservation checkpointing_steps save_every_n_steps bucket_no_upscale
    max_upscale enable_bucket max_bucket_reso shuffle_caption keep_tokens caption_dropout_rate caption_extension
    color_aug flip_aug random_crop noise_offset min_snr_gamma network_train_unet_only train_text_encoder text_encoder_lr
    unet_lr lr_warmup_steps lr_scheduler optimizer_type gradient_accumulation_steps train_batch_size
    gradient_checkpointing cache_latents seed num_processes pretrained_model_name_or_path instance_data_dir
    train_data_dir dataset_config quantize fp8_base blocks_to_swap max_sequence_length max_token_length rank alpha
    masked_loss t5xxl_max_token_length xformers
"""

by_word = pytest.mark.parametrize("word", SYNONYMS)


def problem_with(*typed: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        compose_config(["recipe=demo", *typed])
    return caught.value


def test_the_words_that_users_of_other_trainers_type_are_there():
    assert set(ASKED_FOR.split()) <= SYNONYMS.keys()


@by_word
def test_a_word_leads_to_a_knob_or_says_why_there_is_none(word: str):
    synonym = SYNONYMS[word]
    assert synonym.key in KNOBS if synonym.key else len(synonym.reason) > 20
    assert not synonym.reason.endswith(".") and "\n" not in synonym.reason
    assert word not in KNOBS


@by_word
def test_knobs_that_a_reason_names_are_there(word: str):
    assert (
        set(re.findall(r"\b(?:train|data|model|adapter|preview|hardware|run)\.[a-z_]+", SYNONYMS[word].reason)) <= KNOBS
    )


@by_word
def test_a_word_on_the_command_line_gets_its_own_answer(word: str):
    synonym, error = SYNONYMS[word], problem_with(f"{word}=3")
    remark = f" ({synonym.reason})" if synonym.reason else ""
    if synonym.key:
        assert error.problem == f"there is no knob {word!r}; here it is called {synonym.key}"
        assert error.fix == f"set {synonym.key}=...{remark}"
    else:
        assert error.problem == f"there is no knob {word!r}"
        assert error.fix == f"here there is none: {synonym.reason}"
    assert "did you mean" not in str(error)


@pytest.mark.parametrize("plus", ["+", "++"])
def test_a_word_with_hydras_plus_gets_the_same_answer(plus: str):
    assert problem_with(f"{plus}lr=3").problem == problem_with("lr=3").problem
    assert problem_with(f"{plus}use_ema=true").fix == problem_with("use_ema=true").fix


@pytest.mark.parametrize("form", ["{}", "--{}", "--{}=3"])
@by_word
def test_a_word_typed_as_a_flag_gets_its_own_answer(word: str, form: str):
    synonym, error = SYNONYMS[word], problem_with(form.format(word))
    assert error.problem == f"{form.format(word)!r} is neither a flag nor key=value"
    answer = f"did you mean {synonym.key}=<value>?" if synonym.key else f"here there is none: {synonym.reason}"
    assert error.fix == answer


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        ("train.lr", "train.learning_rate"),
        ("network.network_dim", "adapter.rank"),
        ("max-train-steps", "train.steps"),
        ("LR", "train.learning_rate"),
        ("train.clip", "train.max_grad_norm"),
    ],
)
def test_a_word_is_known_in_a_section_and_in_other_letters(typed: str, key: str):
    synonym = synonym_of(typed)
    assert synonym and synonym.key == key


@pytest.mark.parametrize(
    "typed", ["evaluate.seed", "lora.rank", "trian.steps", "adapter.rnk", "learning_rate", "xyzzy"]
)
def test_a_typo_is_no_synonym(typed: str):
    assert synonym_of(typed) is None


def test_a_word_in_a_recipe_of_the_user_gets_its_answer(tmp_path: Path):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("# @package _global_\ndefaults: [demo]\ntrain: {lr: 1e-4}\n")
    with pytest.raises(ConfigError) as caught:
        compose_config(["recipe=mine"], config_dir=tmp_path)
    assert "there is no knob 'train.lr'; here it is called train.learning_rate" in caught.value.problem
    assert caught.value.fix == "set train.learning_rate=..."
