"""What a row says of its image beside its caption: the part that must stay inside a crop."""

import pytest

from flux_lora.data.samples import Box
from tests.data.sources.folders import lay_out, read, said, the_only, write_jsonl


@pytest.mark.parametrize(
    "row",
    [
        {"box": [10, 20, 30.5, 40]},
        {"box": "[10, 20, 30.5, 40]"},
        {"box": "10;20 30.5,40"},
        {"box": "", "box_left": "10", "box_top": 20, "box_right": 30.5, "box_bottom": 40},
    ],
    ids=["list", "text", "bare", "columns"],
)
def test_a_table_says_what_must_stay_inside_a_crop(tmp_path, row):
    lay_out(tmp_path, "a.png", "b.png", a="the caption beside it")
    write_jsonl(tmp_path / "metadata.jsonl", {"file_name": "a.png", **row}, {"file_name": "b.png", "text": "a mug"})
    found = read(tmp_path)
    assert [sample.box for sample in found.samples] == [Box(10, 20, 30.5, 40), None]
    assert said(found)[0] == ("a.png", "the caption beside it")
    assert found.findings == ()


def test_boxes_are_read_from_csv_and_parquet(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    lay_out(tmp_path, "one/a.png", "two/b.png")
    (tmp_path / "one" / "metadata.csv").write_text('file_name,text,box\na.png,a mug,"1,2,3,4"\n')
    table = pyarrow.table({"file_name": ["b.png"], "text": ["a jug"], "box": [[1, 2, 3, 4]]})
    parquet.write_table(table, tmp_path / "two" / "metadata.parquet")
    assert [sample.box for sample in read(tmp_path).samples] == [Box(1, 2, 3, 4)] * 2


WRONG_BOXES = [[1, 2, 3], "1 2 3", "all of it", {"x": 1}, 7, [1, 2, 3, "nan"], [3, 2, 1, 4], [1, 2, 3, 2], [None] * 4]


@pytest.mark.parametrize("box", WRONG_BOXES, ids=str)
def test_a_box_that_is_none_is_an_error_of_its_row(tmp_path, box):
    lay_out(tmp_path, "a.png", a="a mug")
    write_jsonl(tmp_path / "metadata.jsonl", {"file_name": "a.png", "box": box})
    finding = the_only(read(tmp_path))
    assert (finding.rule, "'box'" in finding.problem) == ("unreadable-row", True)
