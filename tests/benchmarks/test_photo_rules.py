from pathlib import Path

import pytest

from benchmarks.photo_rules import COLUMNS, KINDS, RESULTS, Row, count, in_short, table
from benchmarks.photographs import ALL, Way, after, barred, folder, resized

pytestmark = pytest.mark.skipif(folder() is None, reason="scikit-image is not installed")


def test_every_photograph_in_a_frame_is_counted_as_named_and_none_without():
    small = resized(0.4)
    framed = count(Way("framed", after(small, barred(0.08, 0.08, "#2060c0"))), "borders")
    assert sum(len(names) for names in framed.named.values()) == len(ALL)
    assert framed.cells[-1] == f"{len(ALL)} / {len(ALL)} (100%)"
    plain = count(Way("plain", small), "borders")
    assert [len(plain.named[kind]) for kind in KINDS] == [0, 0, 0]


def test_a_table_has_a_line_for_each_row():
    assert table(COLUMNS, [("a", "1 / 6", "0 / 6", "0 / 5", "1 / 17 (6%)")]).count("\n") == 2


def test_what_is_not_promised_is_no_miss():
    none: dict[str, list[str]] = {kind: [] for kind in KINDS}
    some = {kind: list(names[1:]) for kind, names in KINDS.items()}
    (row,) = in_short({"dark": [Row("a little", some), Row("much (not promised)", none)]}, {})
    assert row == ("`dark`", "1 / 6 (17%)", "3 / 17 (18%)", "none")


def test_the_docs_quote_the_rates_that_were_measured():
    _, _, short = RESULTS.read_text(encoding="utf-8").partition("## In short\n\n")
    measured = short.partition("\n\n")[0]
    assert len(measured.splitlines()) > len(KINDS)
    assert measured in (Path(__file__).parents[2] / "docs" / "photo_rules.md").read_text(encoding="utf-8")
