"""What captioners write around a caption is found, and can be cut out."""

import pytest

from flux_lora.data.checks.caption_style import boilerplate_in, without_boilerplate
from tests.data.checks.captioned import PROSE


@pytest.mark.parametrize(
    ("caption", "left"),
    [
        ("The image shows a zubo bottle on a table.", "A zubo bottle on a table."),
        ("the photograph depicts a red mug", "a red mug"),
        ("This image is of a cat.", "A cat."),
        ("In this image, we can see a dog.", "A dog."),
        ("In the image there is a mug on a shelf.", "A mug on a shelf."),
        ("The image is a digital painting of a cat", "A digital painting of a cat"),
        ("Sure! Here is a caption for your image: a red mug on a table", "A red mug on a table"),
        ("Here's a detailed description of the photo: a red mug", "A red mug"),
        ("In this image I can see a red mug", "A red mug"),
        ("The image you provided shows a red mug", "A red mug"),
        ("This close-up photo shows a red mug", "A red mug"),
        ("This is a high-resolution photograph of a red mug.", "A high-resolution photograph of a red mug."),
        ("Caption: a red mug", "A red mug"),
        ("This is a photograph of a red mug.", "A photograph of a red mug."),
        ("A mug. The overall mood of the scene is calm and serene.", "A mug."),
        ("A mug in soft light, creating a warm and cosy atmosphere.", "A mug in soft light."),
        ("A mug. The background of the image is blurred.", "A mug. The background is blurred."),
        ("A mug in the centre of the image", "A mug in the centre"),
        ("I'm sorry, I cannot describe this.", ""),
    ],
)
def test_boiler_plate_is_cut_out_and_what_is_left_still_reads(caption, left):
    assert boilerplate_in(caption)
    assert without_boilerplate(caption) == left
    assert not boilerplate_in(left)


@pytest.mark.parametrize(
    "caption",
    [
        *PROSE,
        "a photo of a zubo mug on a table",
        "The framed photo is on the wall behind a mug",
        "a photo of the scene outside, through a window",
        "an image frame in the middle of a wall, the image in it is crooked",
        "an image of a mug above the photo frame",
        "somebody creating a clay pot at a wheel",
        "a mug beside the image of a saint",
        "a description card lies beside the mug: it is blank",
    ],
)
def test_words_for_images_are_not_boiler_plate_as_such(caption):
    assert boilerplate_in(caption) == ""
    assert without_boilerplate(caption) == caption
