"""The gallery's subjects are new each, and its judge knows a subject from its near-twins."""

import pytest

from benchmarks.subjects.folder import test_scenes as scenes_of
from benchmarks.subjects.folder import write_subject
from benchmarks.subjects.gallery import JUDGED, REPORTED, TUNED, judged_subjects, reported_subjects, tuned_subjects
from benchmarks.subjects.judge import judge_image
from benchmarks.subjects.subject import APART, Subject, draw_subject, lab_distance, subject_of
from benchmarks.subjects.twins import near_twins
from scripts.mini.world import Scene, Thing, draw_scene

EVERYONE = (*tuned_subjects(), *reported_subjects(), *judged_subjects())
everyone = pytest.mark.parametrize("subject", EVERYONE, ids=lambda subject: subject.name)


def test_no_subject_is_both_tuned_on_and_reported():
    assert not set(TUNED) & {*REPORTED, *JUDGED}
    assert len({subject.parts for subject in EVERYONE}) == len(EVERYONE)


@pytest.mark.parametrize("subjects", [tuned_subjects(), reported_subjects(), judged_subjects()])
def test_half_are_products_and_half_have_strange_colours(subjects: tuple[Subject, ...]):
    assert sum(subject.kind == "product" for subject in subjects) == len(subjects) / 2
    assert sum(subject.strange_colours for subject in subjects) == len(subjects) / 2
    assert len({subject.trigger_kind for subject in subjects}) == 3


@everyone
def test_parts_of_different_names_are_well_apart_in_colour(subject: Subject):
    colours = {part.name: part.colour for part in subject.parts}
    pairs = [(one, other) for one in colours for other in colours if one < other]
    assert all(lab_distance(colours[one], colours[other]) >= APART for one, other in pairs)


@everyone
def test_the_judge_finds_a_drawn_subject_whole(subject: Subject):
    for scene in scenes_of(subject, 3):
        assert judge_image(draw_subject(subject.parts, scene), subject.parts).strict


def test_the_judge_does_not_take_a_near_twin_or_an_ordinary_thing_for_the_subject():
    taken = total = 0
    for subject in tuned_subjects():
        scene = scenes_of(subject, 1)[0]
        for parts in near_twins(subject).values():
            taken += judge_image(draw_subject(parts, scene), subject.parts).strict
            total += 1
        thing = Thing(subject.class_word, "red", scene.things[0].place)
        assert not judge_image(draw_scene(Scene((thing,), scene.ground, 1)), subject.parts).mild
    assert taken <= 0.1 * total


def test_a_subject_is_written_as_a_folder_with_its_twins_beside(tmp_path):
    place = write_subject(subject_of(4), tmp_path)
    assert len(list(place.glob("*.png"))) == len(list(place.glob("ohwx_*.txt"))) == 16
    assert len(list((place / "held_out").glob("*.png"))) == 4
    assert len(list(tmp_path.glob("*-near_twins/*/*.png"))) == 16
