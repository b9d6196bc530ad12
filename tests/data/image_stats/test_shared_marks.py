"""Watermarks are found by what several images have at one place."""

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from benchmarks.photographs import jpeg
from flux_lora.data.checks.image_quality import judge_shared_marks
from flux_lora.data.findings import Finding
from tests.data.scenes import look, product, scene

WORDS = "kupfermond"


def stamped(image: Image.Image, at: tuple[float, float] = (0.5, 0.5), *, alpha: float = 0.35) -> Image.Image:
    """White letters over the image, a third of its width."""
    font = ImageFont.load_default(image.width // 3 / len(WORDS) * 1.8)
    ink = Image.new("L", image.size, 0)
    place = (at[0] * image.width, at[1] * image.height)
    ImageDraw.Draw(ink).text(place, WORDS, font=font, fill=round(255 * alpha), anchor="mm")
    return Image.composite(Image.new("RGB", image.size, "white"), image, ink)


def marked_in(images: Sequence[Image.Image]) -> list[Finding]:
    return list(judge_shared_marks([look(image, f"{number}.png") for number, image in enumerate(images)]))


@pytest.mark.parametrize(("at", "place"), [((0.5, 0.5), "in the middle"), ((0.82, 0.94), "at the bottom right")])
def test_faint_letters_at_one_place_of_several_images_are_found(at: tuple[float, float], place: str):
    found = marked_in([jpeg(85)(stamped(scene(seed), at)) for seed in range(6)])
    assert len(found) == 6
    assert place in found[0].problem and "6 images" in found[0].problem


def test_only_the_images_that_have_the_mark_are_named():
    found = marked_in([stamped(scene(seed)) if seed % 2 else scene(seed) for seed in range(12)])
    assert {finding.file.name for finding in found} == {f"{number}.png" for number in range(1, 12, 2)}


def test_images_without_a_mark_have_none_in_common():
    assert marked_in([scene(seed) for seed in range(12)]) == []


def test_three_images_are_too_few_to_tell():
    assert marked_in([stamped(scene(seed)) for seed in range(3)]) == []


def test_letters_that_go_with_the_subject_are_no_mark():
    places = [(0.3, 0.3), (0.5, 0.4), (0.6, 0.6), (0.4, 0.7), (0.55, 0.25), (0.35, 0.5)]
    assert marked_in([stamped(scene(seed), at) for seed, at in enumerate(places)]) == []


def test_one_background_is_no_mark():
    """Its detail agrees in all of the photos, and so does its brightness."""
    wall = scene(3)
    photos = []
    for seed in range(6):
        photo = wall.copy()
        photo.paste(product((200, 60, 50), seed=seed).resize((80, 80)), (20 + 35 * seed, 120))
        photos.append(photo)
    assert marked_in(photos) == []


def test_one_scene_in_other_light_has_no_mark():
    shots = [Image.fromarray((np.asarray(scene(4)) * light).astype(np.uint8)) for light in np.linspace(0.4, 1.0, 7)]
    assert marked_in(shots) == []


def test_one_thing_on_other_grounds_has_no_mark():
    grounds = [(250, 250, 250), (30, 30, 30), (200, 60, 50), (60, 120, 200), (230, 200, 90), (120, 170, 110)]
    assert marked_in([product(ground, seed=seed) for seed, ground in enumerate(grounds)]) == []


def test_images_of_other_shapes_do_not_hide_a_mark():
    upright = [stamped(scene(seed, width=240, height=320)) for seed in range(5)]
    assert len(marked_in([*upright, *(scene(seed) for seed in range(20, 28))])) == 5
