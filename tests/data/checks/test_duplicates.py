from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from benchmarks.photographs import SECOND_OF_A_PAIR, after, cropped, folder, jpeg, photograph, resized
from flux_lora.data.checks.duplicates import judge_duplicates
from flux_lora.data.image_stats.copies import can_embed, load_embed
from flux_lora.data.image_stats.measure import ImageStats
from tests.data.scenes import look, product, scene

needs_photographs = pytest.mark.skipif(folder() is None, reason="scikit-image is not installed")


def groups(findings, rule):
    return [
        (finding.file.name, *(file.name for file in finding.others)) for finding in findings if finding.rule == rule
    ]


def judged(images, held_out=None, vectors=None):
    looks = [look(image, name) for name, image in images.items()]
    kept = [look(image, name) for name, image in (held_out or {}).items()]
    return list(judge_duplicates(looks, kept, vectors={} if vectors is None else vectors))


def test_the_same_pixels_are_one_group_whatever_the_files_are_called():
    found = judged({"a.png": scene(1), "b.png": scene(2), "c.bmp": scene(1), "d.png": scene(1)})
    assert groups(found, "same-picture") == [("a.png", "c.bmp", "d.png")]
    assert len(found) == 1
    assert found[0].problem == "is the same image as c.bmp, d.png"


def test_other_sizes_qualities_and_small_crops_are_one_group_of_near_duplicates():
    images = {
        "a.png": scene(1),
        "small.png": resized(0.5)(scene(1)),
        "other.png": scene(2),
        "saved.jpg": jpeg(40)(scene(1)),
        "cut.png": after(cropped(0.04, 0.02, 0.0, 0.03), jpeg(60))(scene(1)),
    }
    found = judged(images)
    assert groups(found, "near-picture") == [("a.png", "small.png", "saved.jpg", "cut.png")]
    assert len(found) == 1
    assert found[0].problem == "is nearly the same image as small.png, saved.jpg and 1 more"


def test_a_mirrored_copy_is_found_and_called_one():
    found = judged({"a": scene(1), "b": scene(2), "flipped": after(ImageOps.mirror, jpeg(60))(scene(1))})
    assert groups(found, "near-picture") == [("a", "flipped")]
    assert found[0].problem == "is nearly the same image as flipped (mirrored)"


@pytest.mark.parametrize(
    ("turn", "how"),
    [
        (Image.Transpose.ROTATE_90, "turned left"),
        (Image.Transpose.ROTATE_180, "upside down"),
        (Image.Transpose.ROTATE_270, "turned right"),
    ],
)
def test_a_turned_copy_is_found_in_training_and_held_out_and_said_how_it_is_turned(turn, how):
    turned = jpeg(60)(scene(1)).transpose(turn)
    assert [each.problem for each in judged({"a": scene(1), "b": scene(2), "c": turned})] == [
        f"is nearly the same image as c ({how})"
    ]
    (found,) = judged({"a": scene(1), "b": scene(2)}, {"x": turned})
    assert found.rule == "held-out-twin"


def test_a_mirrored_and_cropped_copy_is_found_whichever_of_the_two_was_cropped():
    cut = after(cropped(0.04, 0.01, 0.0, 0.03), after(ImageOps.mirror, jpeg(70)))(scene(1))
    assert groups(judged({"a": scene(1), "b": scene(2), "c": cut}), "near-picture") == [("a", "c")]
    assert groups(judged({"a": cut, "b": scene(2), "c": scene(1)}), "near-picture") == [("a", "c")]


def test_a_held_out_image_that_is_trained_on_mirrored_is_an_error():
    (found,) = judged({"a": scene(1)}, {"x": ImageOps.mirror(scene(1))})
    assert found.problem == "is held out, but nearly the same image as a (mirrored), which is trained on"


def bottle(middle: float) -> Image.Image:
    """Before white, lit from the left wherever it stands."""
    across = np.clip((np.arange(256) / 256 - middle + 0.12) / 0.24, 0, 1)
    column = 0.5 + 0.6 * np.sin(np.pi * (0.2 + 0.75 * across)) ** 2
    image = np.full((256, 256, 3), 255.0)
    inside = (across > 0) & (across < 1)
    image[60:236, inside] = column[inside, None] * np.array([40, 120, 90])
    return Image.fromarray(image.astype(np.uint8))


def test_a_thing_that_stands_left_and_right_in_one_light_is_no_mirror_image():
    assert judged({"left": bottle(0.35), "right": bottle(0.65)}) == []


def test_two_groups_stay_two_groups():
    found = judged({"a": scene(1), "b": scene(2), "c": jpeg(50)(scene(1)), "d": resized(0.7)(scene(2))})
    assert groups(found, "near-picture") == [("a", "c"), ("b", "d")]


def test_different_images_are_left_alone():
    assert judged({str(seed): scene(seed) for seed in range(10)}) == []


def test_the_same_thing_before_another_ground_or_elsewhere_is_another_image():
    things = {
        "white": product(),
        "blue": product((40, 90, 200)),
        "left": product(at=(0.3, 0.5)),
        "large": product(size=0.7),
    }
    assert judged(things) == []


def test_images_of_one_colour_are_only_told_by_their_pixels():
    plain = {name: Image.new("RGB", (64, 64), name) for name in ("grey", "black", "red")}
    assert judged(plain) == []


def test_one_file_listed_twice_is_no_duplicate():
    seen = look(scene(1), "a.png")
    assert list(judge_duplicates([seen, seen], vectors={})) == []


def test_a_held_out_image_that_is_trained_on_is_an_error_exact_or_near():
    trained = {"a.png": scene(1), "b.png": scene(2), "c.png": scene(3)}
    held_out = {"x.png": scene(2), "y.jpg": after(resized(0.6), jpeg(50))(scene(3)), "z.png": scene(4)}
    found = [finding for finding in judged(trained, held_out) if finding.rule == "held-out-twin"]
    assert [(finding.file.name, finding.others[0].name) for finding in found] == [
        ("x.png", "b.png"),
        ("y.jpg", "c.png"),
    ]
    assert all(finding.fatal for finding in found)
    assert "is held out, but the same image as b.png" in found[0].problem


def test_two_held_out_images_may_be_alike():
    assert judged({"a": scene(1)}, {"x": scene(2), "y": scene(2)}) == []


def vectors_of(**told):
    return {Path("photos") / name: np.array(row, dtype=np.float32) for name, row in told.items()}


def test_crops_that_no_fingerprint_sees_are_found_by_what_a_network_sees():
    crop = cropped(0.2, 0.05, 0.1, 0.15)(scene(1))
    images = {"a": scene(1), "b": scene(2), "c": crop}
    found = judged(images, vectors=vectors_of(a=[1, 0], b=[0.9, 0.436], c=[0.8, 0.6]))
    assert groups(found, "same-photo") == [("a", "c")]
    assert len(found) == 1


def test_what_the_network_finds_unlike_is_not_laid_over_each_other():
    crop = cropped(0.2, 0.05, 0.1, 0.15)(scene(1))
    assert judged({"a": scene(1), "c": crop}, vectors=vectors_of(a=[1, 0], c=[0, 1])) == []


def test_without_the_network_it_is_said_once_and_where_it_comes_from():
    found = list(judge_duplicates([look(scene(1), "a.png"), look(scene(2), "b.png")]))
    assert [finding.rule for finding in found] == ["crops-not-compared"]
    assert found[0].file == Path("photos")
    assert "flux_lora[metrics]" in found[0].fix
    assert list(judge_duplicates([])) == []


@pytest.fixture(scope="module")
def five() -> list[ImageStats]:
    """Different images, looked at once for all the sets that are made of them."""
    return [look(product(at=(0.2 + seed * 0.15, 0.5), seed=seed)) for seed in range(5)]


@settings(max_examples=50)
@given(seeds=st.lists(st.integers(0, 4), max_size=12))
def test_groups_hold_every_copy_exactly_once(five: list[ImageStats], seeds: list[int]):
    looks = [replace(five[seed], image=Path(f"{index}.png")) for index, seed in enumerate(seeds)]
    found = [each for each in judge_duplicates(looks, vectors={}) if each.rule == "same-picture"]
    named = [file for finding in found for file in (finding.file, *finding.others)]
    copied = [each.image for each, seed in zip(looks, seeds, strict=True) if seeds.count(seed) > 1]
    assert sorted(named) == sorted(copied)


@needs_photographs
def test_two_eyes_of_a_stereo_camera_are_two_images_for_the_fingerprint():
    assert judged({"left": photograph("motorcycle_left.png"), "right": photograph(SECOND_OF_A_PAIR)}) == []


@needs_photographs
@pytest.mark.skipif(not can_embed(), reason="the extra 'metrics' is not installed")
def test_the_network_knows_another_crop_of_one_photo_from_another_photo():
    embed = load_embed()
    cat, cup = photograph("chelsea.png"), photograph("coffee.png")
    images = {"cat": cat, "crop": cropped(0.08, 0.05, 0.04, 0.06)(cat), "cup": cup}
    vectors = {Path("photos") / name: embed(image) for name, image in images.items()}
    found = judged(images, vectors=vectors)
    assert groups(found, "same-photo") == [("cat", "crop")]
