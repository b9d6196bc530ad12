"""Other languages and slips of the pen are found; names, brands and trades' words are not."""

import sys

import pytest

from flux_lora.config.choices import Severity
from flux_lora.data.checks.language import dictionary, identifier, judge_language
from flux_lora.data.checks.subject_words import SubjectWords
from tests.data.checks.captioned import FOLDER, PROSE, samples, seen

ZUBO = SubjectWords("zubo", "mug", "product")


@pytest.fixture
def extra():
    pytest.importorskip("spellchecker")
    pytest.importorskip("py3langid")


@pytest.fixture(params=["spellchecker", "py3langid"])
def lacking(request, monkeypatch):
    """An installation without one of the two libraries of the extra."""
    for name in [name for name in sys.modules if name.split(".")[0] == request.param]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, request.param, None)
    dictionary.cache_clear()
    identifier.cache_clear()
    yield request.param
    dictionary.cache_clear()
    identifier.cache_clear()


def test_good_captions_have_no_findings(extra):
    assert seen(judge_language(samples(*PROSE), ZUBO)) == []


@pytest.mark.parametrize(
    "caption",
    [
        "eine zubo Tasse steht auf einem Tisch neben einem Buch",
        "une tasse zubo sur une table en bois, près de la fenêtre",
        "una taza zubo sobre una mesa de madera junto a la ventana",
        "кружка zubo на столе у окна",
        "桌子上的zubo马克杯，旁边有一本书",
    ],
)
def test_a_caption_in_another_language_is_warned_of(caption, extra):
    assert seen(judge_language(samples(caption), ZUBO)) == [("00.png", "other-language")]


@pytest.mark.parametrize(
    "caption",
    [
        "zubo in Schönbrunn, Vienna, in front of the palace",
        "a café table, croissants, crème brûlée and a zubo mug",
        "Champs-Élysées, Paris",
        "a zubo mug with 猫 on it",
        "zubo",
    ],
)
def test_foreign_names_in_an_english_caption_are_no_other_language(caption, extra):
    assert seen(judge_language(samples(caption), ZUBO)) == []


def test_slips_of_the_pen_are_noted_with_what_was_meant(extra):
    (finding,) = judge_language(samples("a detialed paintng of a zubo mug"), ZUBO)
    assert (finding.rule, finding.severity) == ("misspelled", Severity.note)
    assert "'detialed' (detailed?)" in finding.problem and "'paintng' (painting?)" in finding.problem


@pytest.mark.parametrize(
    "caption",
    [
        "a zubo mug with bokeh behind it, backlit, on a countertop",
        "a grey zubo mug in the centre, favourite colours, jewellery",
        "zubos and a zubo-like mug, rimlit",
        "an Ikeaa shelf with a Smeeg fridge",
        "a smartphone, a hoodie, a raincoat, sneakers and a selfie stick",
        "a qwxyzv on a table",
    ],
)
def test_names_and_the_words_of_photography_are_no_slips(caption, extra):
    assert seen(judge_language(samples(caption), ZUBO)) == []


def test_what_cannot_be_looked_at_is_said_once_with_the_extra_to_install(lacking):
    (finding,) = judge_language(samples(*PROSE), ZUBO)
    assert (finding.file, finding.rule, finding.severity) == (FOLDER, "captions-unchecked", Severity.note)
    assert "flux_lora[captions]" in finding.fix and lacking in finding.problem.replace("pys", "s")


def test_other_scripts_are_seen_without_any_library(lacking):
    assert seen(judge_language(samples("кружка на столе"), ZUBO))[1] == ("00.png", "other-language")


def test_without_captions_there_is_nothing_to_look_at(lacking):
    assert seen(judge_language(samples("", ""), ZUBO)) == []
