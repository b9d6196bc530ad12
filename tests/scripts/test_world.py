"""The drawn world: captions say what is drawn, and what is held out is never trained on."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.mini.captions import caption_of, ground_words, random_scene
from scripts.mini.judge import agreement, truth
from scripts.mini.scenery import training_scenes
from scripts.mini.world import GROUNDS, SHAPES, draw_scene

seeds = st.integers(0, 10_000)


@given(seeds)
def test_a_scene_is_drawn_in_its_own_size_and_always_the_same(seed: int):
    scene = random_scene(Random(seed), shape=SHAPES[seed % len(SHAPES)])
    image = draw_scene(scene)
    assert image.size == (scene.width, scene.height)
    assert np.array_equal(np.asarray(image), np.asarray(draw_scene(scene)))


@given(seeds)
def test_a_full_caption_names_every_thing_its_colour_and_the_ground(seed: int):
    random = Random(seed)
    scene = random_scene(random)
    caption = caption_of(scene, random, loose=0.0)
    for thing in scene.things:
        assert f"{thing.colour} {thing.kind}" in caption
    assert caption.endswith(ground_words(scene.ground))


def test_grounds_have_words_of_their_own():
    assert len({ground_words(ground) for ground in GROUNDS}) == len(GROUNDS)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_training_scene_is_held_out(shape: tuple[int, int]):
    assert not any(scene.held_out for scene in training_scenes(shape, 200, seed=0))


def test_about_one_scene_in_sixteen_is_held_out():
    random = Random(0)
    share = sum(random_scene(random).held_out for _ in range(2000)) / 2000
    assert 0.03 < share < 0.12


def test_the_truth_agrees_with_itself_and_not_with_another_scene():
    truths = [truth(random_scene(Random(seed))) for seed in range(50)]
    assert set(agreement(truths, truths).values()) == {1.0}
    assert min(agreement(truths, truths[::-1]).values()) < 0.9
