"""What the adapter is reminded of."""

from pathlib import Path

import pytest
import torch

from flux_lora.commands.machine import device_and_dtype
from flux_lora.commands.pictures import load_pipeline
from flux_lora.commands.remember import class_images_of, class_prompts, preservation_samples, render_class_images
from flux_lora.config.compose import compose_config
from flux_lora.config.schema import RunConfig
from flux_lora.data.cache import EncodedDataset, encode_captions
from flux_lora.data.encoders import flux1_encoders

KEPT = ("a red ball", "a blue house")


@pytest.fixture
def config(tiny_flux: Path) -> RunConfig:
    return compose_config(
        ["recipe=demo", f"model.path={tiny_flux}", "data.resolution=64", "train.memories=3", "evaluate.steps=2"]
        + ["model.text_tokens=16"]
    )


def test_prompts_come_in_turn_and_then_again_with_other_noise(config: RunConfig):
    made = class_images_of(config, KEPT, "texts")
    assert [each.prompt for each in made] == ["a red ball", "a blue house", "a red ball"]
    assert made[0].seed == made[1].seed != made[2].seed
    assert len({each.keys.latent for each in made}) == 3


def test_ordinary_things_and_others_take_turns_and_none_is_said_twice():
    assert class_prompts(["a mug", "a mug", "a mug on a table"], ["a dog"]) == ("a mug", "a dog", "a mug on a table")


def test_the_base_makes_each_picture_once_and_keeps_it(config: RunConfig, tiny_flux: Path, tmp_path: Path):
    machine = device_and_dtype(config.hardware)
    encoders = flux1_encoders(str(tiny_flux), tokens=16, device=machine.device, text_dtype=machine.dtype)
    wanted = class_images_of(config, KEPT, encoders.caption_fingerprint)
    texts = encode_captions([each.prompt for each in wanted], encoders, tmp_path)
    render_class_images(config, wanted, texts, load_pipeline(config, machine), tmp_path)
    first = preservation_samples(EncodedDataset(tmp_path, []), tmp_path, wanted)
    assert len(first) == 3 and first[0].latent.shape == (16, 8, 8)
    assert not torch.equal(first[0].latent, first[2].latent), "another noise makes another picture"
    files = {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}
    render_class_images(config, wanted, texts, load_pipeline(config, machine), tmp_path)
    assert files == {file: file.stat().st_mtime_ns for file in tmp_path.iterdir()}


def test_another_way_of_sampling_is_another_memory(config: RunConfig, tiny_flux: Path):
    other = compose_config(
        ["recipe=demo", f"model.path={tiny_flux}", "data.resolution=64", "train.memories=1", "evaluate.steps=3"]
    )
    assert class_images_of(config, KEPT, "texts")[0].keys.latent != class_images_of(other, KEPT, "texts")[0].keys.latent
