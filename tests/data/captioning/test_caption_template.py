import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flux_lora.data.captioning.captioner import CaptionTemplate, without_chatter
from flux_lora.errors import ConfigError

PRODUCT = CaptionTemplate("a photo of a {trigger} {class}, {caption}", trigger="zorb", class_word="mug")


@pytest.mark.parametrize(
    ("description", "caption"),
    [
        ("A red cup on a table.", "a photo of a zorb mug, a red cup on a table."),
        ("The image shows a red cup on a table.", "a photo of a zorb mug, a red cup on a table."),
        ("In this image, there is a cup by a window.", "a photo of a zorb mug, a cup by a window."),
        ("This is a photo of a cup on a shelf.", "a photo of a zorb mug, a cup on a shelf."),
        ("Sure! Here is a description: A cup on a shelf.", "a photo of a zorb mug, a cup on a shelf."),
        ('"A cup on a shelf."', "a photo of a zorb mug, a cup on a shelf."),
        ("<CAPTION> a cup<|im_end|>", "a photo of a zorb mug, a cup"),
        ("**A cup**\n\non a shelf", "a photo of a zorb mug, a cup on a shelf"),
    ],
)
def test_a_description_becomes_a_caption_without_boilerplate_or_chatter(description: str, caption: str):
    assert PRODUCT.around(description) == caption


@pytest.mark.parametrize(
    ("description", "caption"),
    [
        ("Paris at night, a cup in front", "a photo of a zorb mug, Paris at night, a cup in front"),
        ("A sign that says 'OPEN'", "a photo of a zorb mug, a sign that says 'OPEN'"),
        ("a cup that says <3 and $5", "a photo of a zorb mug, a cup that says <3 and $5"),
        ("a cup beside a photo of a dog", "a photo of a zorb mug, a cup beside a photo of a dog"),
    ],
)
def test_names_quotes_and_signs_inside_a_description_stay(description: str, caption: str):
    assert PRODUCT.around(description) == caption


def test_a_sentence_that_was_cut_off_goes_and_whole_ones_stay():
    assert without_chatter("A cup on a table. Next to it lies a") == "A cup on a table."
    assert without_chatter("A cup on a table, and next to it") == "A cup on a table, and next to it"


@pytest.mark.parametrize("nothing", ["", "  \n", "<|im_end|>", "...", "I'm sorry, I cannot describe this."])
def test_a_model_that_says_nothing_makes_no_caption(nothing: str):
    assert PRODUCT.around(nothing) == ""


def test_a_template_that_begins_with_the_caption_keeps_its_capital():
    assert CaptionTemplate("{caption} It is {trigger}.", trigger="zorb").around("A cup.") == "A cup. It is zorb."


def test_without_a_trigger_no_gap_is_left():
    assert CaptionTemplate("a {trigger} {class}, {caption}", class_word="cat").around("asleep") == "a cat, asleep"


def test_a_folder_without_trigger_and_class_word_gets_descriptions_alone():
    assert CaptionTemplate(PRODUCT.template).around("The image shows a red cup.") == "A red cup."


@pytest.mark.parametrize(
    ("template", "seen"), [("a photo", "no {caption}"), ("{caption}, {tag}", "{tag}"), ("{caption} {}", "{}")]
)
def test_a_template_that_would_lose_words_is_refused(template: str, seen: str):
    with pytest.raises(ConfigError) as refusal:
        CaptionTemplate(template)
    assert seen in refusal.value.problem


@settings(max_examples=100)
@given(st.text(max_size=80))
def test_whatever_a_model_says_the_caption_is_one_line_with_the_trigger_or_nothing(description: str):
    caption = PRODUCT.around(description)
    assert caption == "" or (caption.startswith("a photo of a zorb mug,") and len(caption.splitlines()) == 1)
