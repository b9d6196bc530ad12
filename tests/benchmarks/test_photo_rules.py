import pytest

from benchmarks.photo_rules import COLUMNS, KINDS, count, table
from benchmarks.photographs import ALL, Way, barred, folder, same

pytestmark = pytest.mark.skipif(folder() is None, reason="scikit-image is not installed")


def test_every_photograph_in_a_frame_is_counted_as_named_and_none_without():
    framed = count(Way("framed", barred(0.08, 0.08, "#2060c0")), "borders")
    assert sum(len(names) for names in framed.named.values()) == len(ALL)
    assert framed.cells[-1] == f"{len(ALL)} / {len(ALL)} (100%)"
    plain = count(Way("plain", same), "borders")
    assert [len(plain.named[kind]) for kind in KINDS] == [0, 0, 0]


def test_a_table_has_a_line_for_each_row():
    assert table(COLUMNS, [("a", "1 / 6", "0 / 6", "0 / 5", "1 / 17 (6%)")]).count("\n") == 2
