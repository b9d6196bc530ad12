"""Every image has a caption of its own, or is named."""

import pytest

from flux_lora.config.choices import Severity, SourceRole
from flux_lora.data.checks.captions import judge_missing_captions
from flux_lora.data.checks.subject_words import SubjectWords
from flux_lora.data.samples import Sample
from tests.data.checks.captioned import PROSE, samples, seen

ZUBO = SubjectWords("zubo", "mug", "product")


def test_good_captions_have_no_findings():
    assert seen(judge_missing_captions(samples(*PROSE), ZUBO)) == []


def test_an_image_without_a_caption_is_named_with_the_file_to_write(tmp_path):
    sample = Sample(image=tmp_path / "a.png", caption="", caption_file=tmp_path / "a.txt")
    (finding,) = judge_missing_captions([sample], ZUBO)
    assert (finding.rule, finding.severity) == ("no-caption", Severity.error)
    assert "'zubo'" in finding.fix and "a.txt" in finding.fix


@pytest.mark.parametrize("content", [b"", b" \n\n", b"\xef\xbb\xbf\n"])
def test_a_caption_file_with_nothing_in_it_is_empty_and_not_missing(tmp_path, content):
    file = tmp_path / "a.txt"
    file.write_bytes(content)
    sample = Sample(image=tmp_path / "a.png", caption="", caption_file=file, encoding="utf-8")
    assert seen(judge_missing_captions([sample], ZUBO)) == [("a.png", "empty-caption")]


def test_a_caption_file_that_is_no_text_was_spoken_of_where_it_was_read(tmp_path):
    file = tmp_path / "a.txt"
    file.write_bytes(b"\x00\x01\x02")
    sample = Sample(image=tmp_path / "a.png", caption="", caption_file=file, encoding="")
    assert seen(judge_missing_captions([sample], ZUBO)) == []


def test_captions_in_variants_alone_are_captions():
    sample = Sample(image=samples("")[0].image, caption="", variants=("a zubo mug on a table",))
    assert seen(judge_missing_captions([sample], ZUBO)) == []


@pytest.mark.parametrize(("caption", "short"), [("zubo mug", True), ("zubo", True), ("a zubo mug", False)])
def test_a_caption_of_under_three_words_is_short(caption, short):
    assert seen(judge_missing_captions(samples(caption), ZUBO)) == ([("00.png", "short-caption")] if short else [])


def test_one_short_variant_is_enough():
    sample = Sample(image=samples("")[0].image, caption="a zubo mug on a table", variants=("zubo mug",))
    assert seen(judge_missing_captions([sample], ZUBO)) == [("00.png", "short-caption")]


def test_ordinary_images_may_be_called_by_their_class_alone():
    assert seen(judge_missing_captions(samples("mug", "mug", role=SourceRole.regularisation), ZUBO)) == []


def test_the_same_caption_on_many_images_is_one_finding_that_names_them_all():
    captions = ["a zubo mug on a table", "A zubo mug on a table.", "a zubo mug on a chair", "a  zubo mug on a table"]
    (finding,) = judge_missing_captions(samples(*captions), ZUBO)
    assert (finding.file.name, finding.rule) == ("00.png", "same-caption")
    assert [file.name for file in finding.others] == ["01.png", "03.png"]


def test_captions_that_differ_in_one_word_are_two():
    assert seen(judge_missing_captions(samples("a zubo mug on a table", "a zubo mug on two tables"), ZUBO)) == []


def test_an_image_that_is_listed_twice_shares_a_caption_with_nobody():
    (sample,) = samples("a zubo mug on a table")
    assert seen(judge_missing_captions([sample, sample], ZUBO)) == []
