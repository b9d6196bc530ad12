"""An edit's scores mean what they say, and the choice among its checkpoints follows from them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flux_lora.evaluate.choice import ChoiceLimits, Verdict
from flux_lora.evaluate.edits import EditPair, choose_edit, score_edits
from flux_lora.evaluate.estimate import Estimate
from flux_lora.evaluate.scores import EDIT_METRICS, Score
from tests.data.drawn_pairs import grey, painted, scene

PAIRS = [EditPair(scene(seed), painted(scene(seed))) for seed in range(4)]
LIMITS = ChoiceLimits()


def scored(images: list[Image.Image], pairs: list[EditPair] | None = None) -> Score:
    return score_edits(pairs or PAIRS, [[each] for each in images], step=1, strength=1.0)


def candidate(
    step: int, edited: float, untouched: float = 0.97, *, strength: float = 1.0, spread: float = 0.05
) -> Score:
    """With two pairs on each side of the mean."""
    each = tuple((edited + sign * spread,) for sign in (-1, 1, -1, 1))
    estimates = {"edited": Estimate(edited, edited - spread, edited + spread, each)}
    return Score(
        step, strength, estimates | {"untouched": Estimate(untouched, untouched, untouched, ((untouched,),) * 4)}
    )


def test_the_image_as_it_was_makes_nothing_of_the_edit_and_the_wanted_one_all_of_it():
    unchanged, wanted = scored([pair.before for pair in PAIRS]), scored([pair.after for pair in PAIRS])
    assert (unchanged["edited"].value, unchanged["untouched"].value) == (0.0, 1.0)
    assert (wanted["edited"].value, wanted["untouched"].value) == (1.0, 1.0)
    assert [metric.name for metric in wanted.metrics] == [metric.name for metric in EDIT_METRICS]


@settings(max_examples=20, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_a_blend_nearer_to_what_is_wanted_makes_more_of_the_edit(one: float, other: float):
    low, high = sorted((one, other))
    shares = [
        scored([Image.blend(pair.before, pair.after, by) for pair in PAIRS])["edited"].value for by in (low, high)
    ]
    assert shares[0] <= shares[1] + 0.02


def test_an_edit_of_everything_leaves_less_alone_and_another_scene_leaves_little():
    recoloured = scored([painted(grey(pair.before)) for pair in PAIRS])
    other = scored([scene(9 + number) for number in range(len(PAIRS))])
    assert recoloured["edited"].value > 0.9 and recoloured["untouched"].value < 0.7
    assert other["untouched"].value < 0.4


def test_an_edit_of_all_places_is_scored_too():
    pairs = [EditPair(pair.before, grey(pair.before)) for pair in PAIRS]
    assert scored([pair.after for pair in pairs], pairs)["edited"].value == 1.0


def test_where_nearly_all_is_changed_nothing_is_left_to_leave_alone():
    before = scene(1)
    after = Image.new("RGB", before.size, (250, 250, 250))
    after.paste(before.crop((0, 0, 12, 8)))
    drawn = Image.new("RGB", before.size, (250, 250, 250))
    assert scored([drawn] * 2, [EditPair(before, after)] * 2)["untouched"].value == 1.0


def test_what_makes_no_more_of_it_than_the_base_is_nothing_to_ship():
    base = candidate(0, 0.3)
    found = choose_edit([candidate(100, 0.31), candidate(200, 0.3)], base, LIMITS)
    assert found.verdict is Verdict.nothing and not found.passes and "the base 30%" in found.why


def test_what_still_rises_is_told_to_train_on():
    found = choose_edit([candidate(100, 0.02), candidate(200, 0.15)], candidate(0, 0.0), LIMITS)
    assert found.verdict is Verdict.nothing and "more steps" in found.why


@pytest.mark.parametrize(("edited", "untouched", "said"), [(0.3, 0.97, "in part"), (0.8, 0.6, "leave alone")])
def test_an_edit_in_part_or_beside_its_place_is_not_yet(edited: float, untouched: float, said: str):
    found = choose_edit([candidate(100, edited, untouched)], candidate(0, 0.0), LIMITS)
    assert found.verdict is Verdict.not_yet and said in found.why


def test_of_equals_strength_1_and_the_earlier_step_are_taken():
    scores = [
        candidate(100, 0.7, strength=0.8),
        candidate(100, 0.71),
        candidate(200, 0.72, spread=0.2),
        candidate(300, 0.5),
    ]
    found = choose_edit(scores, candidate(0, 0.1), LIMITS)
    assert (found.verdict, found.step, found.strength, found.strengths) == (Verdict.ship, 100, 1.0, (0.8, 1.0))


def test_a_clearly_better_step_is_taken_though_it_is_later():
    found = choose_edit([candidate(100, 0.5), candidate(200, 0.8)], candidate(0, 0.1), LIMITS)
    assert (found.step, found.passes) == (200, True)
