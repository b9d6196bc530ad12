"""The scorer's rows have length 1, whatever is put in."""

from pathlib import Path

import pytest
import torch
from PIL import Image

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


def test_a_folder_without_a_clip_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no CLIP"):
        load_scorer(tmp_path)
