"""The page of a run in a real browser: nothing beyond the screen's side, light and dark, opened by keyboard, printed.

Skipped where playwright (extra dev) or a Chromium is missing.
"""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from flux_lora.evaluate.choice import Choice, Verdict
from flux_lora.evaluate.report import Report, write_report
from tests.evaluate import test_report

report = test_report.report
playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


def opened(browser: "playwright.Browser", report: Report, folder: Path, **settings: object) -> "playwright.Page":
    made = replace(report.trios[0], made='{"prompt": "' + "unbroken" * 60 + '"}')
    file = write_report(replace(report, trios=(made,)), folder / "report.html")
    tab = browser.new_page(**settings)
    tab.set_default_timeout(120_000)
    tab.goto(file.as_uri())
    return tab


@pytest.mark.parametrize("width", [420, 1400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_answer_is_on_the_first_screen_and_nothing_reaches_beyond_its_side(
    browser: "playwright.Browser", report: Report, tmp_path: Path, width: int, scheme: str
):
    size = {"width": width, "height": 900}
    tab = opened(browser, report, tmp_path, viewport=size, color_scheme=scheme)
    verdict = tab.locator(".verdict")
    assert verdict.inner_text() == "Use zorb.safetensors at strength 1"
    box = verdict.bounding_box()
    assert box and box["y"] + box["height"] < 900
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    dark = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(21, 20, 19)") == (scheme == "dark")
    tab.close()


def test_how_an_image_was_made_opens_by_keyboard(browser: "playwright.Browser", report: Report, tmp_path: Path):
    tab = opened(browser, report, tmp_path)
    assert not tab.is_visible(".made code >> nth=0")
    tab.locator(".made summary").first.focus()
    tab.keyboard.press("Enter")
    assert tab.is_visible(".made code >> nth=0")
    tab.close()


def test_it_prints(browser: "playwright.Browser", report: Report, tmp_path: Path):
    tab = opened(browser, report, tmp_path)
    assert tab.pdf().startswith(b"%PDF")
    tab.close()


def test_nothing_to_ship_is_the_first_thing_said(browser: "playwright.Browser", report: Report, tmp_path: Path):
    choice = Choice(200, 1.0, "No candidate has learned the subject.", passes=False, verdict=Verdict.nothing)
    tab = opened(browser, replace(report, choice=choice, file=None, checks=()), tmp_path)
    assert tab.locator("main section").first.inner_text().startswith("Nothing to ship")
    assert tab.locator("text=The file").count() == 0
    tab.close()
