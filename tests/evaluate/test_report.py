"""The page is whole, closed to the outside, and safe to open whatever a caption says."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from flux_lora.evaluate.choice import Choice, ChoiceLimits
from flux_lora.evaluate.estimate import Estimate
from flux_lora.evaluate.report import (
    Ablation,
    BesidePhoto,
    Compared,
    ComparedPair,
    Curve,
    Dataset,
    ExportedFile,
    FileCheck,
    Frame,
    Report,
    StageSeconds,
    Thumbnail,
    Trio,
    write_report,
)
from flux_lora.evaluate.scores import METRICS, Score

RED, BLUE = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (48, 32), "blue")
HOSTILE = "<script>alert('x')</script>\" onload=\"{{ 7 * 7 }}"


def _score(step: int, likeness: float, leakage: float = 0.08) -> Score:
    found = {metric.name: Estimate(0.1, 0.05, 0.15) for metric in METRICS}
    found |= {
        "likeness": Estimate(likeness, likeness - 0.05, likeness + 0.05),
        "recognised": Estimate(likeness, likeness - 0.1, 1.0),
        "adherence": Estimate(0.97, 0.9, 1.0),
        "leakage": Estimate(leakage, 0, 1),
    }
    return Score(step, 1.0, found)


@pytest.fixture
def report() -> Report:
    return Report(
        title="zorb mug",
        trigger="zorb",
        class_word="mug",
        base="mini",
        when="21 November 2026",
        scorer="the scorer beside the base",
        stages=(StageSeconds("prepare", 6.2), StageSeconds("train", 212.0)),
        dataset=Dataset(16, (Thumbnail(RED, "a zorb mug"),), ("one.png is small",)),
        trios=(Trio("a zorb mug on grass", RED, BLUE, RED),),
        pairs=(
            ComparedPair("a mug on grass", "class", RED, RED, 0.05),
            ComparedPair("a ball", "unrelated", BLUE, BLUE, 0.4),
        ),
        scores=(_score(100, 0.4), _score(200, 0.86)),
        altered=0.1,
        twins=0.6,
        taken=0.05,
        ablation=Ablation((("a zorb mug on grass", RED, 0.86), ("a mug on grass", BLUE, 0.1), ("a ball", BLUE, 0.0))),
        nearest=(BesidePhoto("a zorb mug on grass", RED, BLUE, "one.png", copied=True),),
        compared=(Compared("a zorb mug", (("Base", RED), ("step 100 at 1", BLUE))),),
        held_out_loss="On photos that training never saw the loss fell by 30%.",
        limits=ChoiceLimits(),
        choice=Choice(200, 1.0, "Because it is the most alike.", passes=True),
        curve=Curve(tuple((step, 1 / step) for step in range(1, 201)), (100, 200)),
        frames=(Frame(0, BLUE), Frame(200, RED)),
        file=ExportedFile("zorb.safetensors", 1_340_000, "9f2c" * 16, "diffusers", ("diffusers", "ComfyUI")),
        checks=(FileCheck("keys that diffusers did not use", "0", passed=True),),
        recipe="train:\n  steps: 200\n",
        snippet="import torch",
        comfy="Put it there.",
    )


class _Page(HTMLParser):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_says_what_was_learned_in_plain_words(report: Report, tmp_path: Path) -> None:
    words = _Page(write_report(report, tmp_path / "evaluation" / "report.html")).words
    assert "Say “zorb” and 86% of the images show it as a whole." in words
    assert "Use zorb.safetensors at strength 1" in words and "It is step 200. " in words
    assert "step 100 at 1" in words and "the loss fell by 30%" in words
    assert "Because it is the most alike." in words
    assert "3 min 38 s" in words


def test_of_several_dialects_one_is_to_be_used(report: Report, tmp_path: Path) -> None:
    assert report.file
    both = replace(report.file, name="zorb.safetensors + zorb.kohya.safetensors", first="zorb.safetensors")
    words = _Page(write_report(replace(report, file=both), tmp_path / "report.html")).words
    assert "Use zorb.safetensors at strength 1" in words and "zorb.kohya.safetensors" in words


def test_a_strength_that_was_folded_into_the_file_is_not_asked_for_again(report: Report, tmp_path: Path) -> None:
    """Who read "use it at strength 0.8" loaded the file, which has it, at 0.64."""
    weaker = replace(report.choice, strength=0.8, strengths=(0.8, 1.0))
    scores = (*report.scores, replace(report.chosen, strength=0.8))
    words = _Page(write_report(replace(report, choice=weaker, scores=scores), tmp_path / "report.html")).words
    assert "Use zorb.safetensors at strength 1" in words and "Use step" not in words
    assert "It is step 200, with its strength of 0.8 in the weights." in words
    assert "Of the file, strengths from 1 to 1.2 are as good." in words
    alone = replace(report, choice=weaker, scores=scores, file=None, checks=())
    words = _Page(write_report(alone, tmp_path / "alone.html")).words
    assert "Use step 200 at strength 0.8" in words and "Strengths from 0.8 to 1 are as good." in words


def test_the_page_needs_nothing_from_outside_and_runs_nothing(report: Report, tmp_path: Path) -> None:
    file = write_report(report, tmp_path / "report.html")
    tags = _Page(file).tags
    images = [attributes["src"] for tag, attributes in tags if tag == "img"]
    assert len(images) == 3 + 3 + 4 + 2 + 2 + 1 + 2
    assert all(source and source.startswith("data:image/webp;base64,") for source in images)
    assert not [tag for tag, _ in tags if tag in ("script", "link", "iframe", "object")]
    assert not re.search(r"https?://", file.read_text(encoding="utf-8"))


def test_the_page_says_what_near_twins_reach_what_the_trigger_does_and_what_was_copied(report: Report, tmp_path: Path):
    words = _Page(write_report(report, tmp_path / "report.html")).words
    assert "the photos with one part in another colour, reach 60%, and 5% of them would be taken" in words
    assert "With the trigger, with the class alone, with neither" in words and "86% of the subject" in words
    assert "Copies of training photos" in words and "a copy of one.png" in words
    alone = replace(report, nearest=(replace(report.nearest[0], copied=False),))
    assert "No copies of training photos" in _Page(write_report(alone, tmp_path / "other.html")).words


def test_five_hundred_images_stay_below_twenty_megabytes(report: Report, tmp_path: Path) -> None:
    """At a real model's size, and with more grain than a photograph has."""
    noise = Image.effect_noise((1024, 1024), 60).convert("RGB")
    noise = Image.blend(Image.linear_gradient("L").resize((1024, 1024)).convert("RGB"), noise, 0.5)
    many = replace(
        report, compared=tuple(Compared("a zorb", tuple((str(n), noise) for n in range(50))) for _ in range(10))
    )
    assert write_report(many, tmp_path / "report.html").stat().st_size < 20 * 10**6


def test_what_users_write_stays_text(report: Report, tmp_path: Path) -> None:
    hostile = replace(
        report,
        title=HOSTILE,
        trigger=HOSTILE,
        class_word=HOSTILE,
        dataset=Dataset(1, (Thumbnail(RED, HOSTILE),), (HOSTILE,)),
        trios=(Trio(HOSTILE, RED, BLUE, RED),),
        pairs=(ComparedPair(HOSTILE, "class", RED, RED, 0.05),),
        recipe=HOSTILE,
        snippet=HOSTILE,
    )
    page = _Page(write_report(hostile, tmp_path / "report.html"))
    assert not [tag for tag, attributes in page.tags if tag == "script" or "onload" in attributes]
    assert HOSTILE in page.words


def test_a_choice_beyond_the_limits_is_said_at_the_top(report: Report, tmp_path: Path) -> None:
    over = replace(
        report,
        scores=(_score(200, 0.86, leakage=0.6),),
        choice=Choice(200, 1.0, "No candidate keeps within the limits.", passes=False),
        doubts=("Likeness says little here.",),
    )
    words = _Page(write_report(over, tmp_path / "report.html")).words
    assert words.index("No candidate keeps") < words.index("How it was learned")
    assert "What else it changed" in words
    assert "Likeness says little here." in words


def test_a_page_is_replaced_whole_and_is_the_same_each_time(report: Report, tmp_path: Path) -> None:
    file = write_report(report, tmp_path / "report.html")
    first = file.read_bytes()
    assert write_report(report, file).read_bytes() == first
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_run_of_one_step_and_no_frames_still_has_a_page(report: Report, tmp_path: Path) -> None:
    bare = replace(report, curve=Curve(((1, 0.5),)), frames=(), pairs=(), trios=())
    assert "zorb mug" in _Page(write_report(bare, tmp_path / "report.html")).words
