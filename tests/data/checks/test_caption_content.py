"""What a caption should not say is found, in words of each test's own, and prose that comes near it is left alone."""

import pytest

from flux_lora.data.checks.caption_content import judge_content
from flux_lora.data.checks.caption_style import judge_style
from flux_lora.data.checks.subject_words import SubjectWords
from tests.data.checks.captioned import ANY, PROSE, SNEAKER, WOMAN, samples

FOUND = {
    "web-address": [
        "a ceramic kettle on a shelf (source: http://shop.example/kettle?id=7)",
        "a kettle on a stove, www.kettles.example",
        "a kettle, questions to anna.b@kettles.example",
    ],
    "data-caption": [
        '{"prompt": "a kettle on a stove in a dark kitchen"}',
        '["a kettle on a stove", "a kettle in the sink"]',
        '{ "text": "a kettle, torn in the middle of',
    ],
    "praise": [
        "a kettle on a stove, ultra detailed, soft morning light from the left",
        "award-winning photo of a kettle on a stove",
        "score_9, a kettle on a stove",
        "a kettle in the garden, 8k uhd",
    ],
    "captioned-watermark": [
        "a kettle on a stove with a faint watermark over the handle",
        "a kettle from Getty Images on white",
        "a kettle on grass, © 2021 in the corner",
    ],
    "negation": [
        "a kettle on a stove, without steam",
        "the lid isn't open and the stove is off",
        "a kitchen with no people and a kettle on the stove",
    ],
    "emoji": ["a kettle on a stove \U0001f525", "a kettle in the sun \u2600 on a bench"],
}


@pytest.mark.parametrize(("rule", "caption"), [(rule, one) for rule, many in FOUND.items() for one in many])
def test_what_teaches_nothing_is_named(rule: str, caption: str):
    assert [each.rule for each in judge_content(samples(caption))] == [rule]


NEAR = [
    "a web of wires behind a kettle, and a dot com sticker on its side",
    "a kettle {half full} on the stove",
    "a detailed drawing of a kettle, of good quality paper, on a desk",
    "the water marks of a wet kettle on a wooden table",
    "a stock pot and a kettle on the stove",
    "a kettle in no more than an inch of water beside a no entry sign",
    "a kettle named Knot on a boat, noon light",
    "a café kettle — 5 o'clock — at 30 °C, № 4",
    "a bottle of 8 kg of gas beside a kettle",
]


@pytest.mark.parametrize("caption", [*NEAR, *PROSE, *ANY, *WOMAN, *SNEAKER])
def test_prose_that_comes_near_is_left_alone(caption: str):
    found = [each for each in judge_content(samples(caption)) if each.rule != "negation"]
    assert found == [], caption


@pytest.mark.parametrize(
    "left", ["a [subject] on a stove", "a photo of <s1> on a stove", "TODO: kettle", "a {} kettle"]
)
def test_a_placeholder_that_was_left_is_named(left: str):
    (found,) = judge_style(samples(left), SubjectWords("zubo"))
    assert found.rule == "markup" and "a placeholder" in found.problem
