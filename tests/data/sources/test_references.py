"""What an image was made from is found by its name or in a table, and is never a sample."""

from pathlib import Path

import pytest
from PIL import Image

from flux_lora.config.data import SourceConfig
from flux_lora.data.sources.find import find
from flux_lora.data.sources.references import pair_folders
from flux_lora.data.sources.source import Found, SourceOptions
from flux_lora.errors import DataError
from tests.data.sources.folders import write_jsonl


def images(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / name)
    return folder


def read_pairs(folder: Path, *references: Path) -> Found:
    return find([SourceConfig(path=str(folder))], SourceOptions(pairs=True, reference_folders=references))


def rules(found: Found) -> list[str]:
    return [finding.rule for finding in found.findings if "reference" in finding.rule]


def test_before_and_after_are_known_in_any_case_and_one_alone_is_no_folder_of_pairs(tmp_path: Path):
    (tmp_path / "Before").mkdir()
    assert pair_folders(tmp_path) is None
    (tmp_path / "AFTER").mkdir()
    assert pair_folders(tmp_path) == (tmp_path / "Before", tmp_path / "AFTER")


def test_references_have_the_name_of_their_image_whatever_their_ending_and_stand_in_the_order_of_the_folders(
    tmp_path: Path,
):
    images(tmp_path, "after/a.png", "after/sub/b.png", "pose/a.jpg", "pose/sub/b.png", "cloth/a.webp", "cloth/b.png")
    found = read_pairs(tmp_path / "after", tmp_path / "pose", tmp_path / "cloth")
    assert [sample.references for sample in found.samples] == [
        (tmp_path / "pose/a.jpg", tmp_path / "cloth/a.webp"),
        (tmp_path / "pose/sub/b.png", tmp_path / "cloth/b.png"),
    ]
    assert rules(found) == []


def test_an_image_without_its_pair_and_a_pair_without_its_image_are_named(tmp_path: Path):
    images(tmp_path, "after/a.png", "after/b.png", "before/a.png", "before/c.png")
    images(tmp_path, "pose/a.png", "pose/b.png")
    found = read_pairs(tmp_path / "after", tmp_path / "before", tmp_path / "pose")
    assert sorted(rules(found)) == ["reference-missing", "unused-reference"]
    assert {finding.file.name for finding in found.findings} == {"b.png", "c.png"}


def test_a_name_that_stands_in_two_folders_is_no_pair_of_either(tmp_path: Path):
    images(tmp_path, "after/x/a.png", "after/y/a.png", "before/a.png")
    found = read_pairs(tmp_path / "after", tmp_path / "before")
    assert rules(found) == ["unused-reference"] and not any(sample.references for sample in found.samples)


def test_a_reference_that_images_of_two_sources_have_the_name_of_is_none_s(tmp_path: Path):
    images(tmp_path, "a/after/1.png", "b/after/1.png", "a/before/1.png")
    sources = [SourceConfig(path=str(tmp_path / name / "after")) for name in ("a", "b")]
    found = find(sources, SourceOptions(pairs=True, reference_folders=(tmp_path / "a" / "before",)))
    assert rules(found) == ["unused-reference"] and not any(sample.references for sample in found.samples)


def test_a_second_file_of_a_name_takes_no_other_folder_s_place(tmp_path: Path):
    images(tmp_path, "after/a.png", "one/a.png", "one/a.jpg", "two/b.png")
    found = read_pairs(tmp_path / "after", tmp_path / "one", tmp_path / "two")
    assert sorted(rules(found)) == ["reference-missing", "unused-reference", "unused-reference"]


def test_an_image_that_is_made_and_made_from_stays_a_sample(tmp_path: Path):
    rows = [{"file_name": f"{a}.png", "text": "on", "reference": f"{b}.png"} for a, b in ("ba", "cb")]
    write_jsonl(images(tmp_path, "a.png", "b.png", "c.png") / "metadata.jsonl", *rows)
    assert {sample.image.name: sample.references[0].name for sample in read_pairs(tmp_path).samples} == {
        "b.png": "a.png",
        "c.png": "b.png",
    }


def test_a_table_may_name_references_in_a_folder_above_it(tmp_path: Path):
    write_jsonl(
        images(tmp_path, "out/1.png", "in/1.png") / "out" / "metadata.jsonl",
        {"file_name": "1.png", "text": "x", "reference": "../in/1.png"},
    )
    (sample,) = find([SourceConfig(path=str(tmp_path))], SourceOptions(pairs=True)).samples
    assert sample.references == (tmp_path / "in" / "1.png",)


def test_a_mask_mark_in_the_name_of_a_reference_is_part_of_its_name(tmp_path: Path):
    images(tmp_path, "after/a_mask.png", "before/a_mask.png")
    (tmp_path / "after" / "a_mask.txt").write_text("take the mask off")
    (sample,) = read_pairs(tmp_path / "after", tmp_path / "before").samples
    assert sample.references == (tmp_path / "before/a_mask.png",)


@pytest.mark.parametrize("column", ["reference", "references", "control", "control_path"])
@pytest.mark.parametrize("names", ["before/a.png", ["before/a.png", "pose.png"]])
def test_a_table_names_references_and_they_are_no_samples(tmp_path: Path, column: str, names: str | list[str]):
    images(tmp_path, "after/a.png", "before/a.png", "pose.png", "other.png")
    rows = [{"file_name": "after/a.png", "text": "edit", column: names}, {"file_name": "other.png", "text": "edit"}]
    write_jsonl(tmp_path / "metadata.jsonl", *rows)
    found = read_pairs(tmp_path)
    listed = [names] if isinstance(names, str) else names
    by_name = {sample.image.name: sample.references for sample in found.samples}
    assert by_name["a.png"] == tuple(tmp_path / name for name in listed)
    assert by_name["other.png"] == () and ("pose.png" in by_name) == (len(listed) == 1)
    assert len(found.samples) == (3 if len(listed) == 1 else 2)


@pytest.mark.parametrize("value", [7, "catalogue number 12", {"bytes": "x"}, ["a.png", 3], None])
def test_another_column_of_that_name_is_no_reference(tmp_path: Path, value: object):
    write_jsonl(images(tmp_path, "a.png") / "metadata.jsonl", {"file_name": "a.png", "text": "x", "reference": value})
    found = read_pairs(tmp_path)
    assert [sample.references for sample in found.samples] == [()] and not found.findings


def test_pairs_of_a_table_are_photos_where_no_edit_is_trained_and_that_is_said(tmp_path: Path):
    rows = [{"file_name": "after/a.png", "text": "edit", "reference": "before/a.png"}]
    write_jsonl(images(tmp_path, "after/a.png", "before/a.png") / "metadata.jsonl", *rows)
    found = find([SourceConfig(path=str(tmp_path))], SourceOptions())
    assert [sample.references for sample in found.samples] == [(), ()]
    assert any("recipe=edit trains on pairs" in remark for remark in found.remarks)


def test_a_reference_folder_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="is not a folder"):
        read_pairs(images(tmp_path, "after/a.png") / "after", tmp_path / "befor")
