"""Places of an image as tokens, by colours and by any vision model of transformers."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model, SiglipConfig, SiglipModel

from flux_lora.config.compose import compose_config
from flux_lora.errors import ModelError
from flux_lora.evaluate.features import GRID, centred_on, colour_tokens, load_place_model
from flux_lora.evaluate.identity import altered_copies, layout_similarity, learn_identity
from flux_lora.runs.evaluation import load_judges
from tests.data.drawn_images import gradient

IMAGES = [gradient(64, 48, seed=seed) for seed in range(4)]
TINY = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
VISION = {**TINY, "image_size": 32, "patch_size": 8}


@pytest.mark.parametrize(
    "model",
    [
        lambda: Dinov2Model(Dinov2Config(**TINY, image_size=28, patch_size=14)),
        lambda: CLIPModel(CLIPConfig(text_config=TINY, vision_config=VISION)),
        lambda: SiglipModel(SiglipConfig(text_config=TINY, vision_config=VISION)),
    ],
    ids=["dinov2", "clip", "siglip"],
)
def test_patches_of_any_vision_model_are_places(model, tmp_path: Path):
    model().save_pretrained(tmp_path)
    tokens = load_place_model(tmp_path)(IMAGES)
    assert tokens.shape == (4, GRID * GRID, 16)
    assert torch.equal(tokens, load_place_model(tmp_path)(IMAGES))


def test_the_embedded_clip_serves_and_a_folder_without_a_model_is_named(tmp_path: Path):
    assert load_place_model("mini")(IMAGES[:1]).shape[:2] == (1, GRID * GRID)
    with pytest.raises(ModelError, match="holds no vision model"):
        load_place_model(tmp_path)


def test_a_likeness_model_that_is_not_there_is_left_out_and_said(tmp_path: Path):
    config = compose_config(["recipe=demo", f"model.likeness={tmp_path}"])
    judges, said = load_judges(config.model, torch.device("cpu"))
    assert len(judges.places) == 1 and len(said) == 1
    assert str(tmp_path) in said[0] and "colours alone" in said[0]


def test_kinds_of_places_weigh_the_same():
    features = centred_on(IMAGES, (colour_tokens, load_place_model("mini")))
    tokens = features(IMAGES)
    assert tokens.square().sum(-1) == pytest.approx(torch.ones(4, GRID * GRID))
    assert tokens[..., :15].square().sum(-1) == pytest.approx(torch.full((4, GRID * GRID), 0.5))


def test_an_image_is_laid_out_like_itself():
    tokens = centred_on(IMAGES, (colour_tokens,))(IMAGES)
    assert layout_similarity(tokens, tokens).diagonal() == pytest.approx(torch.ones(4))


def test_where_an_image_stands_does_not_matter_for_likeness():
    def photo(left: int, ground: str) -> Image.Image:
        image = Image.new("RGB", (128, 128), ground)
        image.paste((200, 30, 90), (left, 40, left + 32, 72))
        image.paste((20, 160, 160), (left, 72, left + 32, 104))
        return image

    grounds = ("#ddd", "#cde", "#edc", "#dec")
    base = [Image.new("RGB", (128, 128), ground) for ground in grounds]
    features = centred_on(base + [gradient(128, 128)], (colour_tokens,))
    photos, others = (features([photo(left, ground) for ground in grounds]) for left in (16, 48))
    identity = learn_identity(photos, others, features(base), features(base))
    assert identity.likeness(features([photo(80, "#ddd")]))[0] > 0.9
    assert identity.likeness(features(base)).abs().max() < 0.05


def test_altered_copies_are_three_of_each_photo_and_none_is_the_photo():
    copies = altered_copies(IMAGES[:2])
    assert len(copies) == 6
    assert all(copy.tobytes() != photo.convert("RGB").tobytes() for copy in copies for photo in IMAGES[:2])
