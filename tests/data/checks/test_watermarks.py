from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from flux_lora.data.checks.image_quality import judge_watermarks
from flux_lora.data.image_stats.lettering import Line, can_read, load_read
from tests.data.scenes import product

PHOTO = Path("photos/a.png")


def line(text):
    return Line(text, 0.1, 0.9, 0.4, 0.95)


@pytest.mark.parametrize(
    "text",
    [
        "(c) studio north",
        "© 2024 Ada",
        "shutterstock",
        "Adobestock 12",
        "www.photos.example",
        "@ada.takes.photos",
        "2024-05-17",
        "17.05.2024",
    ],
)
def test_what_stands_on_photos_is_a_watermark(text):
    (finding,) = judge_watermarks([PHOTO], {PHOTO: (line(text),)})
    assert (finding.rule, finding.file) == ("watermark", PHOTO)
    assert repr(text) in finding.problem


@pytest.mark.parametrize("text", ["ZUBO", "Best before", "No. 5", "500 ml", "stockings", "since 1924", "a@b", "12:41"])
def test_words_that_a_label_may_have_pass(text):
    assert list(judge_watermarks([PHOTO], {PHOTO: (line(text),)})) == []


def test_without_a_reader_it_is_said_once_and_where_it_comes_from():
    found = list(judge_watermarks([PHOTO, Path("photos/b.png")], None))
    assert [finding.rule for finding in found] == ["letters-not-read"]
    assert found[0].file == Path("photos")
    assert "flux_lora[ocr]" in found[0].fix
    assert list(judge_watermarks([], None)) == []


@pytest.mark.skipif(not can_read(), reason="the extra 'ocr' is not installed")
def test_a_stamp_across_the_image_is_read_and_a_clean_one_is_not():
    read = load_read()
    stamped = product((90, 140, 200), size=0.3).resize((640, 640))
    pen = ImageDraw.Draw(stamped)
    pen.text((320, 560), "shutterstock", fill="white", font=ImageFont.load_default(size=60), anchor="mm")
    found = read(stamped)
    assert [each.text.lower() for each in found] == ["shutterstock"]
    assert 0.8 < (found[0].top + found[0].bottom) / 2 < 0.95
    assert read(Image.new("RGB", (320, 240), "grey")) == ()
