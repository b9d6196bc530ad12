"""Everything wrong with a folder is said at once."""

import pytest
from PIL import Image

from flux_lora.config.choices import AlphaPolicy
from flux_lora.data.judge import judge, refuse
from flux_lora.data.samples import find_samples
from flux_lora.errors import DataError
from tests.data.pictures import gradient, write_sample


def rules(folder, **settings) -> list[tuple[str, str]]:
    return [(finding.file.name, finding.rule) for finding in judge(find_samples(folder), "TOK", **settings)]


def test_a_good_folder_has_no_findings(tmp_path):
    for number in range(3):
        write_sample(tmp_path, f"{number}.png", f"a TOK mug, seen from side {number}")
    assert rules(tmp_path, resolution=32) == []
    refuse(judge(find_samples(tmp_path), "TOK"))


def test_everything_in_the_way_is_listed_in_one_message(tmp_path):
    write_sample(tmp_path, "corrupt.jpg", "a TOK mug on a table")
    (tmp_path / "corrupt.jpg").write_bytes((tmp_path / "corrupt.jpg").read_bytes()[:300])
    write_sample(tmp_path, "good.png", "a TOK mug in the sun")
    write_sample(tmp_path, "silent.png", None)
    write_sample(tmp_path, "unnamed.png", "a mug on a chair")
    before = sorted(file.name for file in tmp_path.iterdir())

    with pytest.raises(DataError) as refusal:
        refuse(judge(find_samples(tmp_path), "TOK"))

    first, *lines = refusal.value.problem.splitlines()
    assert first == "3 things are in the way of training:"
    assert len(lines) == 3
    assert "corrupt.jpg cannot be read" in lines[0] and "save it again" in lines[0]
    assert "silent.png has no caption" in lines[1] and "silent.txt" in lines[1]
    assert "unnamed.png has a caption without 'TOK'" in lines[2] and "unnamed.txt" in lines[2]
    assert refusal.value.exit_code == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == before


@pytest.mark.parametrize("caption", ["a TOKYO street at night", "a mug, STOKED with tea", "a TOK1 mug on a table"])
def test_a_trigger_inside_another_word_does_not_count(tmp_path, caption):
    write_sample(tmp_path, "a.png", caption)
    assert rules(tmp_path) == [("a.png", "no-trigger")]


@pytest.mark.parametrize("caption", ["TOK, on a table", "a photo of (TOK) here", "this is TOK's handle", "a mug: TOK."])
def test_a_trigger_beside_punctuation_counts(tmp_path, caption):
    write_sample(tmp_path, "a.png", caption)
    assert rules(tmp_path) == []


def test_a_trigger_in_another_case_is_shown_as_it_was_written(tmp_path):
    write_sample(tmp_path, "a.png", "a Tok mug on a table")
    finding = next(judge(find_samples(tmp_path), "TOK"))
    assert finding.fatal and "only 'Tok'" in finding.problem


def test_without_a_trigger_captions_need_not_say_one(tmp_path):
    write_sample(tmp_path, "a.png", "a mug on a table")
    assert list(judge(find_samples(tmp_path), "")) == []


def test_what_only_weakens_a_run_is_a_warning(tmp_path):
    write_sample(tmp_path, "a.png", "TOK mug")
    write_sample(tmp_path, "b.png", "a TOK mug on a table", gradient(16, 16))
    write_sample(tmp_path, "c.png", "a TOK mug on a table", gradient(16, 16))
    findings = list(judge(find_samples(tmp_path), "TOK", resolution=32))
    assert {(finding.file.name, finding.rule) for finding in findings} == {
        ("a.png", "short-caption"),
        ("b.png", "small"),
        ("c.png", "small"),
        ("c.png", "same-caption"),
        ("c.png", "same-picture"),
    }
    assert not any(finding.fatal for finding in findings)
    refuse(findings)


def test_transparency_is_fatal_only_where_it_is_refused(tmp_path):
    write_sample(tmp_path, "a.png", "a TOK mug on nothing", Image.new("RGBA", (32, 32), (255, 0, 0, 0)))
    assert rules(tmp_path) == []
    assert rules(tmp_path, alpha=AlphaPolicy.refuse) == [("a.png", "unreadable")]


def test_a_picture_of_a_kind_that_cannot_be_read_is_not_passed_over_in_silence(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (tmp_path / "a.txt").write_text("a TOK mug on a table")
    assert rules(tmp_path) == [("a.heic", "unreadable")]
