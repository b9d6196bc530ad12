"""Places of an image as tokens, by colours and by any vision model of transformers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPModel,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipModel,
)

from flux_lora.config.compose import compose_config
from flux_lora.errors import ModelError
from flux_lora.evaluate.baseline import RECOGNISED
from flux_lora.evaluate.features import (
    FREQUENCIES,
    GRID,
    SOFTNESS,
    PlaceFeatures,
    centred_on,
    colour_tokens,
    lab,
    load_place_model,
)
from flux_lora.evaluate.identity import Identity, layout_similarity, learn_identity
from flux_lora.evaluate.negatives import altered_copies, near_twins
from flux_lora.runs.evaluation import load_judges
from scripts.mini.things import Colour
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


def test_a_vision_model_without_square_patches_is_named_when_it_is_opened(tmp_path: Path):
    sizes = {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "image_size": 32}
    ConvNextModel(ConvNextConfig(**sizes)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="holds no vision model"):
        load_place_model(tmp_path)


def test_a_likeness_model_that_is_not_there_is_left_out_and_said(tmp_path: Path):
    config = compose_config(["recipe=demo", f"model.likeness={tmp_path}"])
    judges, said = load_judges(config.model, torch.device("cpu"))
    assert len(judges.places) == 1 and len(said) == 1
    assert str(tmp_path) in said[0] and "colours alone" in said[0]


def test_kinds_of_places_weigh_the_same():
    features = centred_on(IMAGES, (colour_tokens, load_place_model("mini")))
    tokens = features(IMAGES).tokens
    assert tokens.square().sum(-1) == pytest.approx(torch.ones(4, GRID * GRID))
    assert tokens[..., :FREQUENCIES].square().sum(-1) == pytest.approx(torch.full((4, GRID * GRID), 0.5))


def test_colours_are_the_less_alike_the_farther_they_are_apart():
    """Dark red is not light red, though both point the same way from grey."""
    colours = [(90, 20, 20), (110, 30, 30), (250, 140, 140), (20, 160, 160)]
    tokens = colour_tokens([Image.new("RGB", (32, 32), colour) for colour in colours])[:, 0]
    cosines = torch.nn.functional.normalize(tokens, dim=-1) @ torch.nn.functional.normalize(tokens, dim=-1).T
    points = lab(np.array(colours) / 255)
    distances = np.linalg.norm(points[0] - points, axis=-1)
    assert cosines[0].tolist() == pytest.approx(np.exp(-((distances / SOFTNESS) ** 2) / 2).tolist(), abs=0.2)
    assert cosines[0, 1] > 0.8 and cosines[0, 2] < 0.4


def test_an_image_is_laid_out_like_itself():
    tokens = centred_on(IMAGES, (colour_tokens,))(IMAGES).tokens
    assert layout_similarity(tokens, tokens).diagonal() == pytest.approx(torch.ones(4), abs=1e-4)


RED, TEAL, GROUNDS = (200, 30, 90), (20, 160, 160), ("#ddd", "#347", "#b73", "#485")


def flag(left: int, ground: str, above: Colour = RED, below: Colour = TEAL, side: int = 32) -> Image.Image:
    image = Image.new("RGB", (128, 128), ground)
    image.paste(above, (left, 40, left + side, 40 + side))
    image.paste(below, (left, 40 + side, left + side, 40 + 2 * side))
    return image


@pytest.fixture(scope="module")
def flags() -> tuple[Identity, PlaceFeatures]:
    """What a flag of red over teal is, from photos on four grounds."""
    base = [Image.new("RGB", (128, 128), ground) for ground in GROUNDS]
    features = centred_on(base + [gradient(128, 128)], (colour_tokens,))
    photos, others = (features([flag(left, ground) for ground in GROUNDS]) for left in (16, 48))
    identity = learn_identity(photos, others, features(base), slice(0, 4))
    found = identity.likeness(features(base))
    assert found.share.mean() == pytest.approx(0, abs=1e-5)
    assert found.share.max() < 0.2 and found.whole.max() < 0.1
    return identity, features


def test_where_and_how_large_the_subject_stands_does_not_matter(flags: tuple[Identity, PlaceFeatures]):
    identity, features = flags
    found = identity.likeness(features([flag(80, "#ddd"), flag(60, "#edc", side=24), flag(10, "#dec", side=42)]))
    assert found.share.min() > 0.9
    assert found.whole.min() > 0.8


@pytest.mark.parametrize("aspect", [(96, 160), (160, 96)], ids=["tall", "wide"])
def test_an_image_of_another_shape_is_not_taken_for_a_stretched_subject(flags, aspect: tuple[int, int]):
    identity, features = flags
    wide = Image.new("RGB", aspect, "#ddd")
    wide.paste(flag(0, "#ddd").crop((0, 40, 32, 104)), (30, 20))
    assert identity.likeness(features([wide])).whole[0] > 0.8


def test_a_part_that_is_missing_or_in_another_place_is_not_the_whole(flags: tuple[Identity, PlaceFeatures]):
    identity, features = flags
    twins = [flag(48, "#ddd", RED, RED), flag(48, "#ddd", TEAL, RED), flag(48, "#ddd", RED, (240, 240, 240))]
    found = identity.likeness(features(twins))
    assert found.whole.max() < 0.1
    assert found.share.min() > 0.2 and found.share.max() < 0.8


def test_near_twins_of_the_photos_are_not_the_whole(flags: tuple[Identity, PlaceFeatures]):
    identity, features = flags
    photos = [flag(16, ground) for ground in GROUNDS]
    twins = near_twins(photos, identity)
    assert len(twins) >= 2 * len(photos)
    assert identity.likeness(features(twins)).whole.max() < RECOGNISED - 0.2
    assert identity.likeness(features(photos)).whole.min() > 0.8


def test_altered_copies_are_three_of_each_photo_and_none_is_the_photo():
    copies = altered_copies(IMAGES[:2])
    assert len(copies) == 6
    assert all(copy.tobytes() != photo.convert("RGB").tobytes() for copy in copies for photo in IMAGES[:2])
