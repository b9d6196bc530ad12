"""The base in the package: a FLUX.1 pipeline like any other, small, and open to every trigger word."""

import warnings
from functools import cache

import pytest
import torch
from diffusers import FluxPipeline
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from flux_lora.evaluate.clip import load_scorer
from flux_lora.models.mini import mini_folder


@cache
def tokenizer_of(part: str) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(mini_folder() / part)


@pytest.fixture(scope="module")
def pipeline() -> FluxPipeline:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return FluxPipeline.from_pretrained(mini_folder(), dtype=torch.float32)


def test_diffusers_opens_it_without_a_warning_as_flux(pipeline: FluxPipeline):
    config = pipeline.transformer.config
    assert config["guidance_embeds"] and config["num_layers"] >= 1 and config["num_single_layers"] >= 1
    assert (pipeline.vae.config["latent_channels"], pipeline.vae_scale_factor) == (16, 8)
    assert pipeline.scheduler.config["use_dynamic_shifting"]
    assert len(config["axes_dims_rope"]) == 3


def test_it_weighs_at_most_16_megabytes():
    assert sum(file.stat().st_size for file in mini_folder().rglob("*") if file.is_file()) <= 16_000_000


def test_nothing_in_it_needs_unpickling():
    endings = {file.suffix for file in mini_folder().rglob("*") if file.is_file()}
    assert endings <= {".json", ".safetensors"}


@given(st.text(min_size=1, max_size=12).filter(lambda word: word.strip()))
def test_every_trigger_word_becomes_known_tokens(word: str):
    for part in ("tokenizer", "tokenizer_2"):
        tokenizer = tokenizer_of(part)
        unknown = tokenizer.convert_tokens_to_ids("<unk>") if part == "tokenizer_2" else -1
        assert unknown not in tokenizer(word).input_ids


def test_words_of_its_world_are_single_tokens():
    for part in ("tokenizer", "tokenizer_2"):
        tokenizer = tokenizer_of(part)
        marks = len(tokenizer("").input_ids)
        for word in ("red", "bottle", "wooden", "background", "middle"):
            assert len(tokenizer(word).input_ids) == marks + 1, word


@pytest.mark.filterwarnings("default")
def test_it_draws_the_ground_that_it_is_told(pipeline: FluxPipeline):
    pipeline.set_progress_bar_config(disable=True)
    images = pipeline(
        ["a red ball in the middle, plain sky background", "a red ball in the middle, at night"],
        width=128,
        height=128,
        num_inference_steps=8,
        max_sequence_length=32,
        generator=[torch.Generator().manual_seed(seed) for seed in (0, 1)],
    ).images
    day, night = (image.resize((1, 1)).getpixel((0, 0)) for image in images)
    assert sum(day) > sum(night) + 150


@pytest.mark.filterwarnings("default")
def test_its_scorer_finds_the_caption_of_a_drawn_scene():
    from random import Random

    from scripts.mini.captions import caption_of, random_scene
    from scripts.mini.world import draw_scene

    scenes = [random_scene(Random(f"scorer {seed}")) for seed in range(24)]
    captions = [caption_of(scene, Random(0), loose=0.0) for scene in scenes]
    scorer = load_scorer("mini")
    cosines = scorer.image_features([draw_scene(scene) for scene in scenes]) @ scorer.text_features(captions).T
    assert (cosines.argmax(dim=1) == torch.arange(24)).float().mean() >= 0.9
