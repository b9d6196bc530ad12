"""The page in a real browser: silent, alone, and what is clicked does what it says.

Skipped where playwright (extra dev) or a Chromium is missing.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding
from flux_lora.data.report.page import DatasetReport, write_dataset_report
from tests.data.report.example_reports import FOLDER, HOSTILE, made_cards, made_page

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
ALONE = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
A_BUSY_MACHINE_MS = 120_000

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")

Open = Callable[..., "playwright.Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=ALONE)
        yield opened
        opened.close()


@pytest.fixture
def shown(browser: "playwright.Browser", tmp_path: Path) -> Iterator[Open]:
    """Open a page; whatever the console says, and every request that leaves the file, fails the test at its end."""
    heard: list[str] = []
    tabs = []

    def open_page(page: DatasetReport, **settings: object) -> "playwright.Page":
        file = write_dataset_report(page, tmp_path / "report.html")
        tab = browser.new_page(**{"viewport": {"width": 1200, "height": 900}} | settings)
        tab.set_default_timeout(A_BUSY_MACHINE_MS)
        tab.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: heard.append(f"error: {error}"))
        tab.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or heard.append(asked.url))
        tab.goto(file.as_uri())
        tabs.append(tab)
        return tab

    yield open_page
    for tab in tabs:
        tab.close()
    assert not heard


def _rows(tab: "playwright.Page", selector: str) -> list[str]:
    """What a person sees of the rows, one line each."""
    found = tab.eval_on_selector_all(
        selector, "rows => rows.filter(row => row.offsetHeight).map(row => row.innerText.replace(/\\s+/g, ' ').trim())"
    )
    assert isinstance(found, list)
    return found


def test_long_groups_of_findings_are_folded_until_asked_for(shown: Open) -> None:
    tab = shown(made_page())
    assert len(_rows(tab, "#found tr.finding")) == 2 + 6 + 1 + 1 + 1
    tab.get_by_role("button", name="Show 4 more").click()
    assert len(_rows(tab, "#found tr.finding")) == 15
    assert not _rows(tab, "#found tr.more")


def test_findings_are_filtered_by_severity_rule_and_words(shown: Open) -> None:
    tab = shown(made_page())
    tab.get_by_role("button", name="12 warnings").click()
    assert [row.split()[0] for row in _rows(tab, "#found tr.rule")] == ["error", "note"]
    assert tab.inner_text("#found-count") == "3 of 15"
    tab.get_by_role("button", name="12 warnings").click()
    tab.select_option("#rule", "blurred")
    assert len(_rows(tab, "#found tr.finding")) == 10
    tab.fill("[data-text-for=found]", "MUG_0003 sharp")
    assert [row.split()[0] for row in _rows(tab, "#found tr.finding")] == ["mug_0003.jpg"]
    tab.fill("[data-text-for=found]", "nothing like it")
    assert tab.is_visible("#found-none")


def test_findings_sort_by_any_column_and_go_back_to_their_groups(shown: Open) -> None:
    tab = shown(made_page())
    tab.click("#found thead button >> text=Image")
    names = [row.split()[2] for row in _rows(tab, "#found tr.finding")]
    assert len(names) == 15
    assert names == sorted(names)
    assert not _rows(tab, "#found tr.rule")
    tab.click("#found thead button >> text=Image")
    assert [row.split()[2] for row in _rows(tab, "#found tr.finding")] == sorted(names, reverse=True)
    tab.click("#grouped")
    assert len(_rows(tab, "#found tr.rule")) == 5
    assert tab.get_attribute("#found thead th >> nth=1", "aria-sort") is None


def test_captions_sort_by_their_number_of_tokens_and_are_found_by_words(shown: Open) -> None:
    page = made_page()
    tab = shown(page)
    tab.click("#texts thead button >> text=T5")
    tab.click("#texts thead button >> text=T5")
    counts = [int(each) for each in _rows(tab, "#texts tbody td[data-label=T5]")]
    assert counts == sorted((card.tokens[0] for card in page.cards), reverse=True)
    tab.fill("[data-text-for=texts]", "from the left")
    assert len(_rows(tab, "#texts tbody tr")) == 3
    assert tab.inner_text("#texts-count") == "3 of 20"


def test_the_sheet_shows_only_what_is_asked_for_and_no_empty_buckets(shown: Open) -> None:
    tab = shown(made_page())
    tab.select_option("#state", "cropped")
    assert len(_rows(tab, ".card")) == 4
    assert len(_rows(tab, ".shelf")) == 1
    tab.select_option("#state", "held")
    assert tab.inner_text("#sheet-count") == "1 of 20"
    tab.select_option("#state", "")
    tab.fill("[data-text-for=sheet]", "0007")
    assert len(_rows(tab, ".card")) == 1


def test_the_frame_lies_where_the_crop_is_and_the_mask_over_the_image(shown: Open) -> None:
    tab = shown(made_page())
    shot, keep = tab.locator("#c8 .shot").bounding_box(), tab.locator("#c8 .keep").bounding_box()
    assert shot and keep
    assert keep["x"] - shot["x"] == pytest.approx(125 / 1600 * shot["width"], abs=1)
    assert keep["width"] == pytest.approx(1350 / 1600 * shot["width"], abs=1)
    assert keep["height"] == pytest.approx(shot["height"], abs=1)
    assert shot["width"] / shot["height"] == pytest.approx(16 / 9, rel=0.02)
    assert tab.locator("#c8 .mask").bounding_box() == tab.locator("#c8 .shot img >> nth=0").bounding_box()


def test_a_finding_leads_to_its_image_and_shows_it_small(shown: Open) -> None:
    tab = shown(made_page())
    row = tab.locator("#found tr.finding", has_text="mug_0004.jpg").first
    assert row.locator("img").get_attribute("src") == tab.get_attribute("#c4 .shot img >> nth=0", "src")
    row.get_by_role("link", name="mug_0004.jpg").first.click()
    assert tab.url.endswith("#c4")


def test_words_of_captions_and_files_never_run(shown: Open) -> None:
    page = made_page()
    card = replace(page.cards[0], name=HOSTILE, caption=HOSTILE, caption_file=HOSTILE, notes=(HOSTILE,))
    finding = Finding(FOLDER / HOSTILE, HOSTILE, HOSTILE, HOSTILE, Severity.error)
    hostile = replace(page, title=HOSTILE, cards=(card, *page.cards[1:]), findings=(finding,), off={HOSTILE: HOSTILE})
    tab = shown(hostile)
    tab.fill("[data-text-for=found]", "<script>")
    assert len(_rows(tab, "#found tr.finding")) == 1
    assert tab.evaluate("window.hurt") is None


@pytest.mark.parametrize("width", [360, 768, 1600])
def test_nothing_reaches_beyond_the_side_of_the_screen(shown: Open, width: int) -> None:
    page = made_page()
    long = replace(page.cards[0], name="a_very_long_name_without_any_blank_in_it" * 4 + ".jpg", caption="unbroken" * 40)
    tab = shown(replace(page, cards=(long, *page.cards[1:])), viewport={"width": width, "height": 800})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_it_prints_without_its_controls_and_with_every_finding(shown: Open) -> None:
    tab = shown(made_page())
    tab.emulate_media(media="print")
    assert len(_rows(tab, "#found tr.finding")) == 15
    assert not tab.is_visible(".controls >> nth=0")
    assert tab.pdf().startswith(b"%PDF")


def test_two_thousand_images_open_and_are_found_among_each_other(shown: Open) -> None:
    some = made_cards(5)
    many = tuple(replace(some[place % 5], name=f"{place}.jpg", held_out=False) for place in range(2000))
    found = [Finding(FOLDER / card.name, "small", "is small", "use a larger one", Severity.warning) for card in many]
    tab = shown(replace(made_page(), cards=many, findings=tuple(found), twins=()))
    assert len(_rows(tab, "#found tr.finding")) == 6
    assert tab.evaluate("document.querySelectorAll('.thumb img').length") < 400
    tab.fill("[data-text-for=sheet]", "1234.jpg")
    assert tab.inner_text("#sheet-count") == "1 of 2000"
    tab.fill("[data-text-for=texts]", "from the left")
    assert tab.inner_text("#texts-count") == "400 of 2000"
