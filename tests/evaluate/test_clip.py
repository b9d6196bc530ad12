"""The scorer's rows have length 1, whatever is put in."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import SiglipConfig, SiglipModel

from flux_lora.errors import ModelError
from flux_lora.evaluate.clip import load_scorer


def test_images_and_sentences_land_on_one_sphere(tiny_flux: Path) -> None:
    scorer = load_scorer(tiny_flux / "scorer")
    embedded = [Image.new("RGB", (40, 24), "red"), Image.new("RGBA", (24, 40), "blue"), Image.new("L", (32, 32))]
    images = scorer.image_features(embedded)
    sentences = scorer.text_features(["a red ball", "a word " * 200])
    assert images.shape == (3, 16) and sentences.shape == (2, 16)
    assert torch.allclose(torch.cat([images, sentences]).norm(dim=1), torch.ones(5), atol=1e-5)


def test_a_sentence_does_not_depend_on_its_neighbours(tiny_flux: Path) -> None:
    scorer = load_scorer(tiny_flux / "scorer")
    alone = scorer.text_features(["a ball"])
    beside = scorer.text_features(["a ball", "a much longer sentence about a ball"])[:1]
    assert torch.allclose(alone, beside, atol=1e-5)


def test_the_scorer_waits_on_the_host_and_a_card_that_renders_has_its_memory(tiny_flux: Path) -> None:
    """Its device is only touched while it embeds: on a machine without that device, it opens all the same."""
    elsewhere = torch.device("cpu", 0)
    scorer = load_scorer(tiny_flux / "scorer", elsewhere)
    assert scorer.device == elsewhere and next(scorer.model.parameters()).device == torch.device("cpu")


def test_a_tokenizer_that_knows_no_word_is_found_before_anything_is_judged(tiny_flux: Path, tmp_path: Path) -> None:
    for file in (tiny_flux / "scorer").iterdir():
        if file.name in {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer_config.json"}:
            shutil.copy(file, tmp_path)
    with pytest.raises(ModelError) as refused:
        load_scorer(tmp_path)
    assert "model.scorer" in refused.value.fix


def test_another_kind_of_model_is_named(tmp_path: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    vision = {**sizes, "image_size": 32, "patch_size": 8}
    SiglipModel(SiglipConfig(text_config=sizes, vision_config=vision)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="holds no CLIP"):
        load_scorer(tmp_path)


def test_a_folder_without_a_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no CLIP"):
        load_scorer(tmp_path)
