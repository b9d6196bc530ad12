"""The rules on real photographs; how often each is wrong on all of them is in benchmarks/results/photo_rules.md."""

from functools import cache
from pathlib import Path

import pytest

from benchmarks.photographs import BLURRED_BY_NATURE, SCENES, folder, photograph
from benchmarks.spoiled import HARMLESS, SPOILED, TWINS
from flux_lora.data.checks.duplicates import near_pairs
from flux_lora.data.checks.image_quality import judge_image_quality
from flux_lora.data.image_stats.measure import ImageStats, measure

pytestmark = pytest.mark.skipif(folder() is None, reason="scikit-image is not installed")

HARD = {"lettering": 3, "screen-bars": 3, "overexposed": 2, "dark": 4, "collage": 5}
"""Of six scenes, those named: half of them hide a line of letters, and a launch pad at dusk stands 3 stops more."""


def rules_of(name: str, change) -> set[str]:
    return {finding.rule for finding in judge_image_quality([measure(Path(name), change(photograph(name)))])}


@cache
def as_it_is(name: str) -> ImageStats:
    return measure(Path(name), photograph(name))


@pytest.mark.parametrize("rule", SPOILED)
def test_a_scene_that_was_spoiled_is_named(rule):
    named = [name for name in SCENES if rule in rules_of(name, SPOILED[rule][0].change)]
    assert len(named) >= HARD.get(rule, len(SCENES))


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("way", HARMLESS, ids=lambda way: way.name)
def test_a_scene_that_nobody_would_mind_is_not_named(way, name):
    assert rules_of(name, way.change) - {"lettering"} == set()


def test_a_photograph_blurred_by_nature_is_called_blurred():
    assert "blurred" in rules_of(BLURRED_BY_NATURE, lambda image: image)


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("way", TWINS[:-1], ids=lambda way: way.name)
def test_a_scene_is_known_again_whatever_was_done_to_its_file(way, name):
    changed = measure(Path(name), way.change(photograph(name)))
    assert list(near_pairs([as_it_is(name)], [changed])) == [(0, 0)]


def test_no_two_scenes_are_taken_for_one():
    assert list(near_pairs([as_it_is(name) for name in SCENES])) == []
