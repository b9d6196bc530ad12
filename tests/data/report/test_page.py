"""The page is whole, closed to the outside, safe to open whatever a caption says, and right about what it shows."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding
from flux_lora.data.report import page as pages
from flux_lora.data.report.cards import MOST_DRAWN, Card, cards_by_bucket, cards_to_draw
from flux_lora.data.report.page import (
    DatasetReport,
    headline,
    highlighted_parts,
    name_in,
    rule_groups,
    write_dataset_report,
)
from tests.data.report.example_reports import BLURRED, FOLDER, HOSTILE, NO_CAPTION, ROUNDED, made_cards, made_page

Tag = tuple[str, dict[str, str | None]]


class _Read(HTMLParser):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[Tag] = []
        self.words = ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def classed(self, word: str) -> list[dict[str, str | None]]:
        return [attributes for _, attributes in self.tags if word in (attributes.get("class") or "").split()]


@pytest.fixture(scope="module")
def page() -> DatasetReport:
    return made_page()


def test_findings_come_before_images_and_the_verdict_before_both(page: DatasetReport, tmp_path: Path) -> None:
    words = _Read(write_dataset_report(page, tmp_path / "dataset" / "report.html")).words
    verdict_, finding, sheet = (words.index(each) for each in ("Not ready to train", "has no caption", "their crops"))
    assert verdict_ < finding < sheet


def test_images_that_cannot_be_read_are_counted_apart(page: DatasetReport, tmp_path: Path) -> None:
    assert "unreadable" not in _Read(write_dataset_report(page, tmp_path / "a.html")).words
    blind = replace(page, cards=(replace(page.cards[0], width=0, height=0, bucket=(0, 0)), *page.cards[1:]))
    assert "images to train on, 1 of them unreadable" in _Read(write_dataset_report(blind, tmp_path / "b.html")).words


def test_the_page_says_all_it_was_told(page: DatasetReport, tmp_path: Path) -> None:
    words = _Read(write_dataset_report(page, tmp_path / "report.html")).words
    told = (page.title, page.sentence, page.steps_said, *page.remarks, *page.off.values(), "turned upright")
    assert not [each for each in told if each not in words]
    assert not [each.problem for each in page.findings if each.problem not in words]
    assert not [card.caption_file for card in page.cards if card.caption_file not in words]


def test_the_page_needs_nothing_from_outside(page: DatasetReport, tmp_path: Path) -> None:
    file = write_dataset_report(page, tmp_path / "report.html")
    addresses = [
        value for _, attributes in _Read(file).tags for key in ("src", "href") if (value := attributes.get(key))
    ]
    assert addresses
    assert not [each for each in addresses if not each.startswith(("data:image/", "#"))]
    assert not re.search(r"url\(|@import|https?://", file.read_text(encoding="utf-8"))


def test_every_link_leads_to_a_place_on_the_page(page: DatasetReport, tmp_path: Path) -> None:
    tags = _Read(write_dataset_report(page, tmp_path / "report.html")).tags
    places = [attributes["id"] for _, attributes in tags if "id" in attributes]
    wanted = {value[1:] for _, attributes in tags if (value := attributes.get("href"))}
    wanted |= {value for _, attributes in tags if (value := attributes.get("data-of"))}
    assert wanted <= set(places)
    assert len(places) == len(set(places))


def test_what_users_write_stays_text(page: DatasetReport, tmp_path: Path) -> None:
    card = replace(page.cards[0], name=HOSTILE, caption=HOSTILE, caption_file=HOSTILE, notes=(HOSTILE,), group=HOSTILE)
    hostile = replace(
        page,
        title=HOSTILE,
        trigger=HOSTILE,
        sentence=HOSTILE,
        remarks=(HOSTILE,),
        off={HOSTILE: HOSTILE},
        cards=(card, *page.cards[1:]),
        findings=(Finding(FOLDER / HOSTILE, HOSTILE, HOSTILE, HOSTILE, Severity.error, (Path(HOSTILE),)),),
        twins=((HOSTILE, HOSTILE),),
    )
    read = _Read(write_dataset_report(hostile, tmp_path / "report.html"))
    assert len([tag for tag, _ in read.tags if tag == "script"]) == 1
    assert not [attributes for _, attributes in read.tags if {"onload", "onerror"} & set(attributes)]
    assert HOSTILE in read.words


def test_a_file_name_that_is_no_text_does_not_stop_the_page(page: DatasetReport, tmp_path: Path) -> None:
    odd = replace(page.cards[0], name="mug_\udcff.jpg")
    file = write_dataset_report(replace(page, cards=(odd,)), tmp_path / "report.html")
    assert "mug_\\udcff.jpg" in file.read_text(encoding="utf-8")


def test_a_page_is_replaced_whole_and_is_the_same_each_time(page: DatasetReport, tmp_path: Path) -> None:
    file = write_dataset_report(page, tmp_path / "report.html")
    first = file.read_bytes()
    assert write_dataset_report(page, file).read_bytes() == first
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_the_frame_of_a_card_is_its_box_in_percent(page: DatasetReport, tmp_path: Path) -> None:
    wide = page.cards[3]
    assert wide.kept == pytest.approx((7.8125, 0, 84.375, 100))
    styles = [each["style"] for each in _Read(write_dataset_report(page, tmp_path / "report.html")).classed("keep")]
    assert "left:7.812%;top:0.000%;width:84.375%;height:100.000%" in styles
    assert len(styles) == sum(not card.held_out for card in page.cards)


def test_an_image_in_several_buckets_is_shown_in_each_and_its_caption_once(page: DatasetReport, tmp_path: Path) -> None:
    larger = tuple(replace(card, bucket=(2 * card.bucket[0], 2 * card.bucket[1])) for card in page.cards[:5])
    read = _Read(write_dataset_report(replace(page, cards=(*page.cards, *larger)), tmp_path / "report.html"))
    assert len(read.classed("card")) == 25
    assert len(read.classed("caption")) == 20


def test_an_image_that_cannot_be_decoded_is_in_no_bucket_but_keeps_its_caption(
    page: DatasetReport, tmp_path: Path
) -> None:
    broken = Card(name="broken.jpg", thumbnail=b"", width=0, height=0, caption="a zorb mug upside down")
    read = _Read(write_dataset_report(replace(page, cards=(broken,)), tmp_path / "report.html"))
    assert not read.classed("card")
    assert " mug upside down" in "".join(read.words.split("\n"))


def test_a_set_in_order_is_said_to_be_ready(page: DatasetReport, tmp_path: Path) -> None:
    words = _Read(write_dataset_report(replace(page, findings=(), twins=(), off={}), tmp_path / "report.html")).words
    assert "Ready to train: nothing to put right." in words
    assert "Duplicates" not in words
    assert "switched off" not in words


def test_a_set_without_a_name_has_a_heading_all_the_same(page: DatasetReport, tmp_path: Path) -> None:
    assert "The dataset" in _Read(write_dataset_report(replace(page, title=" "), tmp_path / "report.html")).words


def test_columns_without_anything_to_say_are_left_out(page: DatasetReport, tmp_path: Path) -> None:
    bare = replace(page, trigger="", class_word="", cards=tuple(replace(card, tokens=()) for card in page.cards))
    words = _Read(write_dataset_report(bare, tmp_path / "report.html")).words
    assert "Read from" in words
    assert not {"T5", "CLIP", "Trigger", "Class"} & set(words.split())


def test_a_page_without_a_single_image_still_says_what_is_wrong(page: DatasetReport, tmp_path: Path) -> None:
    words = _Read(write_dataset_report(replace(page, cards=(), twins=()), tmp_path / "report.html")).words
    assert "has no caption" in words


def test_too_many_findings_of_one_rule_are_counted_and_not_listed(
    page: DatasetReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MOST_LISTED", 4)
    words = _Read(write_dataset_report(page, tmp_path / "report.html")).words
    assert "and 6 more: flux-lora check check.format=json" in words


def test_rules_are_ordered_by_severity_and_then_by_how_often_they_spoke() -> None:
    found = [ROUNDED.at(FOLDER, "", ""), BLURRED.at(FOLDER, "", ""), *[NO_CAPTION.at(FOLDER, "", "")] * 2]
    often = Finding(FOLDER, "often", "", "", Severity.warning)
    groups = rule_groups([*found, often, often], (BLURRED,))
    assert [group.rule for group in groups] == ["no-caption", "often", "blurred", "turned"]
    assert [group.about for group in groups] == ["", "", BLURRED.about, ""]


@pytest.mark.parametrize(
    ("severities", "starts"),
    [
        ((Severity.warning, Severity.error), "Not ready to train: 1 error and 1 warning."),
        ((Severity.warning, Severity.note), "Ready to train, but worth a look first: 1 warning and 1 note."),
        ((Severity.note,), "Ready to train: 1 note."),
        ((), "Ready to train: nothing to put right."),
    ],
)
def test_the_verdict_is_that_of_the_worst_finding(severities: tuple[Severity, ...], starts: str) -> None:
    assert headline([Finding(FOLDER, "x", "", "", severity) for severity in severities]) == starts


def test_files_are_named_from_the_folder_where_they_are_in_it() -> None:
    assert name_in(FOLDER, FOLDER / "held_out" / "a.jpg") == "held_out/a.jpg"
    assert name_in(FOLDER, Path("elsewhere/a.jpg")) == "elsewhere/a.jpg"
    assert name_in(FOLDER, FOLDER) == "the whole set"


def test_trigger_and_class_are_marked_as_whole_words_and_nothing_is_lost() -> None:
    cut = list(highlighted_parts("Mugs: a zorb Mug, Zorb, zorbs and a mugful of zorb", "zorb", "mug"))
    assert "".join(text for text, _ in cut) == "Mugs: a zorb Mug, Zorb, zorbs and a mugful of zorb"
    assert [(text, kind) for text, kind in cut if kind] == [("zorb", "trigger"), ("Mug", "class"), ("zorb", "trigger")]
    assert list(highlighted_parts("a cup", "", "")) == [("a cup", "")]


def test_the_fullest_bucket_comes_first_and_images_without_one_last(page: DatasetReport) -> None:
    found = cards_by_bucket(page.cards)
    assert [len(shelf.cards) for shelf in found[:-1]] == sorted((len(each.cards) for each in found[:-1]), reverse=True)
    assert found[-1].bucket == (0, 0)
    assert sum(len(shelf.cards) for shelf in found) == len(page.cards)


def test_of_too_many_images_those_with_findings_are_drawn(page: DatasetReport) -> None:
    cards = [replace(page.cards[0], name=str(place)) for place in range(MOST_DRAWN + 500)]
    late = frozenset(str(place) for place in range(MOST_DRAWN, MOST_DRAWN + 500))
    shown = cards_to_draw(cards, late)
    assert len(shown) == MOST_DRAWN
    assert late <= {card.name for card in shown}
    assert [int(card.name) for card in shown] == sorted(int(card.name) for card in shown)


def test_two_thousand_images_make_a_page_of_a_few_megabytes(tmp_path: Path) -> None:
    cards = made_cards(5)
    many = tuple(replace(cards[place % 5], name=f"{place}.jpg") for place in range(2000))
    file = write_dataset_report(replace(made_page(), cards=many), tmp_path / "report.html")
    assert file.stat().st_size < 15e6
