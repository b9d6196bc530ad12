from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flux_lora.config.choices import SourceRole
from flux_lora.data.checks.dataset import colour_name, dataset_summary, facets, judge_dataset
from flux_lora.data.checks.subject_words import SubjectWords
from flux_lora.data.samples import Sample
from tests.data.scenes import look, product, scene

MUG = SubjectWords("zubo", "mug", "product")
GROUNDS = [(250, 250, 250), (30, 30, 30), (200, 60, 50), (60, 120, 200), (230, 200, 90), (120, 170, 110)]


def judged(images, words=MUG, role=SourceRole.subject):
    looks, samples = measured(images, role)
    return {finding.rule: finding for finding in judge_dataset(looks, samples, words)}


def said(images, words=MUG):
    return dataset_summary(*measured(images), words)


def measured(images, role=SourceRole.subject):
    looks = [look(image, f"{index:02}.png") for index, image in enumerate(images)]
    return looks, [Sample(image=each.image, caption="a photo", role=role) for each in looks]


def varied(count):
    """Other grounds, places and sizes."""
    return [
        product(GROUNDS[index % len(GROUNDS)], at=(0.35 + 0.3 * (index % 3) / 2, 0.5), size=0.3 + 0.05 * (index % 7))
        for index in range(count)
    ]


def alike(count):
    return [product(seed=index) for index in range(count)]


def test_a_varied_set_of_good_size_has_nothing_said_against_it():
    assert judged(varied(16)) == {}


@pytest.mark.parametrize(("kind", "few", "enough"), [("product", 9, 10), ("character", 9, 10), ("", 4, 5)])
def test_too_few_images_for_the_kind_are_said(kind, few, enough):
    words = replace(MUG, kind=kind)
    assert f"only {few} images" in judged(varied(few), words)["few-pictures"].problem
    assert "few-pictures" not in judged(varied(enough), words)


def test_too_many_images_are_a_note():
    looks, samples = measured(varied(1))
    many = [replace(looks[0], image=Path(f"photos/{index}.png")) for index in range(81)]
    found = {each.rule: each for each in judge_dataset(many, [replace(samples[0], image=m.image) for m in many], MUG)}
    assert "holds 81 images" in found["many-pictures"].problem
    assert not found["many-pictures"].fatal


def test_a_flat_background_that_most_images_share_is_counted_and_named():
    found = judged([*alike(9), *varied(3)[1:]])["shared-ground"]
    assert found.problem == "has 9 of 11 images that share one flat background (white)"
    assert len(found.others) == 9
    assert found.file == Path("photos")


def test_half_of_the_images_on_white_is_not_most_of_them():
    others = [product(ground, seed=index) for index, ground in enumerate(GROUNDS[1:])]
    assert "shared-ground" not in judged([*alike(5), *others, scene(1), scene(2)])


def test_flat_backgrounds_of_different_colours_are_not_one():
    assert "shared-ground" not in judged(varied(12))


def test_one_room_behind_all_images_is_one_background_too():
    room = scene(5, width=256, height=256)
    images = []
    for index in range(10):
        taken = room.copy()
        taken.paste(scene(20 + index, 90, 90), (60 + 5 * index, 80))
        images.append(taken)
    assert judged(images)["shared-ground"].problem == "has 10 of 10 images that share one background"
    assert "shared-ground" not in judged([scene(seed, 256, 256) for seed in range(10)])


def test_with_masks_the_background_is_not_learned_and_not_spoken_of():
    mask = Image.new("L", (256, 256), 0)
    mask.paste(255, (90, 70, 160, 180))
    looks = [look(product(seed=index), f"{index}.png", mask=mask) for index in range(12)]
    samples = [Sample(image=each.image, caption="a photo") for each in looks]
    assert "shared-ground" not in {finding.rule for finding in judge_dataset(looks, samples, MUG)}
    assert "background" not in dataset_summary(looks, samples, MUG)


def test_light_and_framing_that_never_change_are_notes():
    found = judged(alike(12))
    assert {"same-light", "same-framing"} <= set(found)
    assert not found["same-light"].fatal and not found["same-framing"].fatal


def test_light_and_framing_that_change_are_not_spoken_of():
    images = [
        Image.fromarray((np.asarray(product(at=(0.3 + 0.03 * index, 0.5))) * (0.4 + 0.05 * index)).astype(np.uint8))
        for index in range(12)
    ]
    assert not {"same-light", "same-framing"} & set(judged(images))


def test_a_style_is_meant_to_be_the_same_everywhere():
    assert judged(alike(16), SubjectWords("zubo style", "", "style")) == {}


def test_regularisation_images_do_not_count():
    found = judged(varied(16), role=SourceRole.regularisation)
    assert "only 0 images" in found["few-pictures"].problem


def test_the_sentence_says_what_stays_free_and_what_comes_along():
    free = said(varied(16))
    assert free.startswith("There are 16 images of the zubo mug. What changes between them is left to your prompts:")
    assert "your prompts: the background (6 different), the light and place and size in the frame." in free
    assert free.endswith("Nothing was found that stays the same by accident.")
    fixed = said(alike(12))
    assert "comes along unasked: the background (flat white), the light and place and size in the frame." in fixed


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (MUG, "the zubo mug"),
        (SubjectWords("zubo"), "zubo"),
        (SubjectWords("jxv", "woman", "character"), "jxv"),
        (SubjectWords("zubo style", "", "style"), "zubo style"),
        (SubjectWords("", "mug"), "one mug"),
        (SubjectWords(""), "one thing"),
    ],
)
def test_the_sentence_speaks_of_the_thing_as_a_person_would(words, name):
    assert said(varied(1), words).startswith(f"There is 1 image of {name}. ")


def test_the_sentence_of_a_small_set_says_that_it_is_small():
    assert "That is few" in said(varied(3))
    assert "background" not in said(varied(3))


def test_framing_is_not_guessed_where_the_thing_cannot_be_told_from_its_ground():
    looks, _ = measured([scene(seed) for seed in range(8)])
    assert "place and size in the frame" not in {facet.name for facet in facets(looks)}


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ((255, 255, 255), "white"),
        ((5, 5, 5), "black"),
        ((128, 128, 128), "grey"),
        ((200, 40, 40), "red"),
        ((30, 60, 100), "dark blue"),
        ((230, 210, 60), "yellow"),
        ((170, 210, 240), "light blue"),
        ((240, 225, 195), "beige"),
        ((120, 80, 40), "brown"),
    ],
)
def test_colours_have_plain_names(colour, name):
    assert colour_name(colour) == name
