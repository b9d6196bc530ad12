"""Models that take a picture as a whole choose nothing, and are heard where they see it otherwise."""

from collections.abc import Sequence

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from flux_lora.evaluate.choice import Choice, Verdict
from flux_lora.evaluate.estimate import Estimate
from flux_lora.evaluate.second_opinion import disagreements, nearer

RED, BLUE, PURPLE = (Image.new("RGB", (8, 8), colour) for colour in ("#ff0000", "#0000ff", "#800080"))


def mean_colour(images: Sequence[Image.Image]) -> Tensor:
    return normalize(
        torch.tensor([[float(c) for c in image.resize((1, 1)).getpixel((0, 0))] for image in images]), dim=1
    )


def choice(verdict: Verdict) -> Choice:
    return Choice(100, 1.0, "", passes=verdict is Verdict.ship, verdict=verdict)


def test_images_that_became_more_like_the_photos_are_nearer_than_the_base_s():
    gained = nearer(mean_colour, [RED], [BLUE] * 4, [PURPLE] * 4, prompts=2)
    assert gained.value == pytest.approx(2**-0.5, abs=1e-3)
    assert nearer(mean_colour, [RED], [BLUE] * 4, [BLUE] * 4, prompts=2).value == 0


def test_a_file_that_ships_and_comes_no_nearer_is_doubted_and_one_that_does_is_not():
    assert not disagreements(choice(Verdict.ship), {"EfficientNet": Estimate(0.1, 0.05, 0.2)})
    (said,) = disagreements(choice(Verdict.ship), {"EfficientNet": Estimate(-0.1, -0.2, -0.05)})
    assert said.startswith("EfficientNet sees it otherwise") and "come no nearer" in said


def test_nothing_learned_is_doubted_where_the_pictures_clearly_came_nearer():
    loud, quiet = Estimate(0.2, 0.1, 0.3), Estimate(0.04, 0.01, 0.08)
    assert disagreements(choice(Verdict.nothing), {"The scorer": loud})
    assert not disagreements(choice(Verdict.nothing), {"The scorer": quiet})
    assert not disagreements(choice(Verdict.not_yet), {"The scorer": loud})
