"""What the trigger is there for is not named beside it; what changes from image to image may be."""

import pytest

from flux_lora.data.checks.subject_words import SubjectWords
from flux_lora.data.checks.trigger import judge_subject_traits
from tests.data.checks.captioned import PROSE, samples, seen


def rules(kind: str, caption: str) -> list[str]:
    class_word = {"character": "woman", "product": "bottle"}.get(kind, "")
    return [rule for _, rule in seen(judge_subject_traits(samples(caption), SubjectWords("zubo", class_word, kind)))]


NAMED = ["names-what-is-learned"]


@pytest.mark.parametrize(
    ("kind", "caption"),
    [
        ("character", "zubo woman with brown eyes on a chair"),
        ("character", "a blue-eyed zubo woman"),
        ("character", "zubo woman with long dark hair on a chair"),
        ("character", "a bearded zubo at a desk"),
        ("character", "zubo with a round face and freckles"),
        ("product", "a glass zubo bottle on a table"),
        ("product", "a round zubo on a table"),
        ("product", "a zubo bottle made of dark glass"),
        ("product", "a cylindrical tall zubo bottle"),
        ("product", "a zubo bottle whose label reads FRESH"),
        ("product", "a zubo bottle with a logo"),
        ("product", 'a zubo bottle, labelled "FRESH"'),
        ("style", "a street in the rain, in the style of zubo"),
        ("style", "a zubo watercolor of a street"),
    ],
)
def test_what_the_trigger_should_carry_is_named(kind, caption):
    assert rules(kind, caption) == NAMED


@pytest.mark.parametrize(
    ("kind", "caption"),
    [
        ("character", "zubo woman with closed eyes on a brown chair, wind in her hair"),
        ("character", "zubo woman in a blue coat, facing a white wall"),
        ("character", "zubo woman beside a scarf on a barrel"),
        ("product", "a zubo bottle on a glass table, a round plate behind it"),
        ("product", "a zubo bottle on paper, leather gloves beside it"),
        ("product", "a small zubo bottle on a wooden table, gray wall"),
        ("product", "a zubo bottle beside a stone"),
        ("style", "zubo, a painter before a canvas in the street"),
        ("other", "a glass zubo bottle with brown eyes, in the style of a cartoon"),
        ("", "a glass zubo bottle"),
    ],
)
def test_what_stands_around_it_is_not(kind, caption):
    assert rules(kind, caption) == []


def test_good_captions_have_no_findings():
    assert seen(judge_subject_traits(samples(*PROSE), SubjectWords("zubo", "mug", "product"))) == []


def test_a_caption_without_the_trigger_names_what_it_likes():
    assert rules("product", "a glass bottle on a table") == []


def test_the_words_are_quoted_and_the_file_to_change_is_named():
    (finding,) = judge_subject_traits(samples("zubo with brown eyes"), SubjectWords("zubo", "", "character"))
    assert "'brown eyes'" in finding.problem and "00.txt" in finding.fix
