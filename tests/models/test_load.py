"""Every part of a folder opens, or says why not."""

import shutil
import socket
from dataclasses import replace

import pytest
import torch
from torch import nn

from flux_lora.errors import ModelError
from flux_lora.models.family import ModelSource, Placement
from flux_lora.models.flux1.caption_tokenizers import load_tokenizers
from flux_lora.models.flux1.family import Flux1
from flux_lora.models.flux1.load import (
    load_text_encoders,
    load_transformer,
    load_vae,
)
from flux_lora.models.flux1.text import encode_text
from flux_lora.models.mini import mini_folder
from flux_lora.models.pipeline_folder import model_folder, part_folder
from flux_lora.models.pipeline_parts import load_scheduler
from flux_lora.render.pipeline import sample_latents
from flux_lora.render.spec import RenderSpec


def assert_frozen(model: nn.Module) -> None:
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_every_part_of_a_folder_opens_frozen(tiny_flux):
    path = str(tiny_flux)
    encoders = load_text_encoders(path)
    for part in (load_transformer(path, torch.float32), load_vae(path), encoders.clip, encoders.t5):
        assert_frozen(part)
    assert load_scheduler(path).config["use_dynamic_shifting"]


def test_weights_are_in_the_dtype_asked_for(tiny_flux):
    path = str(tiny_flux)
    encoders = load_text_encoders(path, torch.bfloat16)
    for part in (load_transformer(path, torch.bfloat16), load_vae(path, torch.bfloat16), encoders.clip, encoders.t5):
        assert {parameter.dtype for parameter in part.parameters()} == {torch.bfloat16}


def test_the_tokenizers_alone_read_as_those_of_the_encoders_do(tiny_flux):
    clip, t5 = load_tokenizers(str(tiny_flux))
    encoders = load_text_encoders(str(tiny_flux))
    for alone, beside in ((clip, encoders.clip_tokenizer), (t5, encoders.t5_tokenizer)):
        assert alone("a red mug on a table").input_ids == beside("a red mug on a table").input_ids


def test_tokens_of_a_base_that_is_not_here_are_counted_by_flux_1_s_own_tokenizers(no_network: None):
    clip, t5 = load_tokenizers("black-forest-labs/FLUX.1-dev")
    assert clip("a photo of a zorb mug").input_ids == [49406, 320, 1125, 539, 320, 17605, 321, 9722, 49407]
    assert t5("a photo of a zorb mug").input_ids == [3, 9, 1202, 13, 3, 9, 3, 172, 127, 115, 3, 12963, 1]
    assert clip.model_max_length == 77


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_where: object) -> None:
        raise AssertionError("nothing is asked of the network")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def test_mini_is_the_folder_inside_the_package():
    assert mini_folder().parts[-4:] == ("flux_lora", "models", "mini", "weights")


def test_a_folder_that_is_no_pipeline_is_refused_with_the_file_it_lacks(tmp_path):
    with pytest.raises(ModelError, match="model_index.json") as refusal:
        model_folder(str(tmp_path))
    assert "model.path" in refusal.value.fix


def test_a_hub_id_is_left_as_it_is():
    assert model_folder("black-forest-labs/FLUX.1-dev") == "black-forest-labs/FLUX.1-dev"


def test_a_path_that_does_not_exist_is_not_taken_for_a_hub_id():
    with pytest.raises(ModelError, match="/nowhere/at/all"):
        model_folder("/nowhere/at/all")


def test_a_missing_part_is_named(tiny_flux, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_flux, broken)
    shutil.rmtree(broken / "vae")
    with pytest.raises(ModelError, match="has no vae/"):
        part_folder(str(broken), "vae")


def test_weights_that_are_cut_short_are_a_persons_to_fetch_again(tiny_flux, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(tiny_flux, broken)
    weights = broken / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="transformer cannot be opened"):
        load_transformer(str(broken), torch.float32)


def test_images_are_sampled_without_the_vae_which_waits_where_it_is(tiny_flux):
    pipeline = Flux1().load_pipeline(ModelSource(str(tiny_flux)), Placement(torch.device("cpu"), torch.float32))
    vae = pipeline.vae.to("meta")
    spec = RenderSpec(prompts=("a mug",), seeds=(0,), width=64, height=64, text_tokens=8, steps=1)
    embeds = encode_text(load_text_encoders(str(tiny_flux)), ["a mug"], 8)
    latents = sample_latents(replace(pipeline, vae=vae), [embeds], spec)
    assert latents.shape == (1, 16, 8, 8) and vae.device.type == "meta"
