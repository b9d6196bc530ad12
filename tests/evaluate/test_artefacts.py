"""Faults of an image are told by what they are, not by what the image shows."""

from PIL import Image, ImageDraw, ImageFilter

from flux_lora.evaluate.artefacts import NAMES, artefacts, measure_artefacts

BRIGHT, GROUND = (230, 40, 30), (100, 100, 100)
"""Colours of one brightness, as the mean of the channels tells it."""


def scene(colour: tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGB", (128, 128), GROUND)
    ImageDraw.Draw(image).rectangle((40, 40, 88, 88), fill=colour)
    return image


def named(images: list[Image.Image], base: list[Image.Image]) -> set[str]:
    found = artefacts(measure_artefacts(images, 16), measure_artefacts(base, 16))
    return {name for name, bad in zip(NAMES, found.any(axis=0), strict=True) if bad}


def test_a_subject_that_is_as_bright_as_its_ground_is_not_blurred():
    assert named([scene(BRIGHT)], [scene((230, 230, 230))]) == set()


def test_one_with_few_edges_where_the_base_draws_many_is_not_blurred():
    busy = scene(BRIGHT)
    for left in range(8, 120, 16):
        ImageDraw.Draw(busy).rectangle((left, 8, left + 7, 120), fill=(20, 20, 20))
    assert named([scene(BRIGHT)], [busy]) == set()


def test_one_that_is_blurred_is():
    assert named([scene(BRIGHT).filter(ImageFilter.GaussianBlur(6))], [scene(BRIGHT)]) >= {"blur"}
