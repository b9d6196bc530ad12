"""Where there is no folder of held-out photos, some are taken: by their content, and never apart from their copies."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from benchmarks.photographs import after, cropped, jpeg, resized
from flux_lora.config.choices import SourceRole
from flux_lora.data.held_out import choose_held_out, held_out_in_words
from flux_lora.data.samples import Sample
from flux_lora.data.scan import ScannedImage
from tests.data.scenes import look, scene

SCENES = {f"{number:02}.png": scene(number) for number in range(15)}


def looked_at(images: dict[str, Image.Image], role: SourceRole = SourceRole.subject) -> list[ScannedImage]:
    measured = [look(image, name) for name, image in images.items()]
    return [ScannedImage(Sample(stats.image, "a zorb mug", role=role), stats) for stats in measured]


LOOKED_AT = looked_at(SCENES)
COPIES = {
    **{f"{number:02}.png": scene(number) for number in range(4)},
    **{f"{number:02}_small.jpg": after(resized(0.6), jpeg(60))(scene(number)) for number in range(4)},
    **{f"{number:02}_mirrored.jpg": after(ImageOps.mirror, jpeg(70))(scene(number)) for number in range(2)},
    "03_cut.jpg": after(cropped(0.03, 0.02, 0.0, 0.03), jpeg(70))(scene(3)),
}


def names(chosen: frozenset[Path]) -> set[str]:
    return {file.name for file in chosen}


@pytest.mark.parametrize(("photos", "wanted", "taken"), [(15, 3, 3), (15, 9, 3), (8, 3, 2), (7, 3, 0), (15, 0, 0)])
def test_as_many_are_held_out_as_wanted_a_quarter_at_most_and_two_or_none(photos: int, wanted: int, taken: int):
    assert len(choose_held_out(LOOKED_AT[:photos], wanted)) == taken


@given(st.permutations(range(15)))
def test_the_choice_does_not_depend_on_order(order: list[int]):
    assert choose_held_out([LOOKED_AT[number] for number in order], 3) == choose_held_out(LOOKED_AT, 3)


def test_nor_on_names():
    renamed = looked_at({f"IMG_{100 - number}.png": image for number, image in enumerate(SCENES.values())})
    images = dict(zip((one.sample.image for one in renamed), SCENES, strict=True))
    assert {images[file] for file in choose_held_out(renamed, 3)} == names(choose_held_out(LOOKED_AT, 3))


@given(st.integers(15, 40))
def test_one_photo_more_changes_one_at_most(seed: int):
    more = choose_held_out([*LOOKED_AT, *looked_at({"new.png": scene(seed)})], 3)
    assert len(more & choose_held_out(LOOKED_AT, 3)) >= 2


@pytest.mark.parametrize("wanted", [2, 3, 5])
def test_no_photo_is_held_out_whose_copy_is_trained_on(wanted: int):
    chosen = names(choose_held_out(looked_at(COPIES | {"11.png": scene(11), "12.png": scene(12)}), wanted))
    assert chosen
    for number in range(4):
        copies = {name for name in COPIES if name.startswith(f"{number:02}")}
        assert copies <= chosen or not copies & chosen


def test_photos_without_a_copy_come_first():
    alone = {f"{number}.png": scene(number) for number in (11, 12, 13)}
    assert names(choose_held_out(looked_at(COPIES | alone), 3)) == set(alone)


def test_ordinary_images_are_never_held_out_nor_a_photo_of_which_one_is_a_copy():
    ordinary = looked_at({f"copy_{name}": image for name, image in SCENES.items()}, SourceRole.regularisation)
    assert not choose_held_out([*LOOKED_AT, *ordinary], 3)


def test_an_image_that_cannot_be_read_is_not_held_out():
    broken = [ScannedImage(Sample(Path(f"broken_{number}.png"), "")) for number in range(20)]
    assert choose_held_out([*LOOKED_AT, *broken], 3) == choose_held_out(LOOKED_AT, 3)


def test_it_is_said_which_and_how_to_have_it_otherwise():
    said = held_out_in_words(choose_held_out(LOOKED_AT, 3), 15)
    assert all(name in said for name in names(choose_held_out(LOOKED_AT, 3)))
    assert "3 of 15" in said and "data.held_out_images=0" in said
    assert "a quarter at most" in held_out_in_words(frozenset(), 7)
