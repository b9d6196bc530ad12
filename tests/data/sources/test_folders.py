"""A folder's images are samples, and what else lies in it is accounted for."""

import os

import pytest

from flux_lora.config.choices import CaptionLines, Severity, SourceRole
from flux_lora.config.data import SourceConfig
from flux_lora.data.sources.find import find
from flux_lora.data.sources.source import SourceOptions
from flux_lora.errors import DataError
from tests.data.sources.folders import image_bytes, lay_out, read, said, spoken_of, the_only


def test_a_folder_of_shards_says_how_to_name_them(tmp_path):
    for name in ("a.tar", "b.tar"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match="holds no images, but 2 .tar") as refusal:
        read(tmp_path)
    assert f"{tmp_path}/*.tar" in refusal.value.fix


def test_folders_inside_folders_are_read_in_order(tmp_path):
    lay_out(tmp_path, "b.jpg", "z/c.png", "a/d.webp", b="a mug")
    (tmp_path / "a" / "d.txt").write_text("a dish")
    assert said(read(tmp_path)) == [("b.jpg", "a mug"), ("d.webp", "a dish"), ("c.png", "")]


def test_held_out_masks_caches_and_hidden_folders_are_left_alone_and_caches_said(tmp_path):
    lay_out(tmp_path, "a.png", "held_out/b.png", "latent_cache/d.png", ".trash/e.png", "deep/held_out/f.png")
    lay_out(tmp_path / "by_tag", "g.png")
    (tmp_path / "by_tag" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    found = read(tmp_path)
    assert said(found) == [("a.png", "")]
    assert any("by_tag, latent_cache left alone" in remark for remark in found.remarks)
    assert any(".trash" in remark for remark in found.remarks)


def test_a_folder_is_read_whatever_it_is_called_if_it_is_the_one_asked_for(tmp_path):
    assert said(read(lay_out(tmp_path / "held_out", "a.png", a="a mug"))) == [("a.png", "a mug")]


def test_without_recursion_folders_are_left_alone_and_said(tmp_path):
    lay_out(tmp_path, "a.png", "more/b.png")
    found = read(tmp_path, SourceOptions(recursive=False))
    assert said(found) == [("a.png", "")]
    assert any("more" in remark for remark in found.remarks)


def test_images_only_in_folders_name_the_setting(tmp_path):
    with pytest.raises(DataError, match="only folders") as refusal:
        read(lay_out(tmp_path, "more/b.png"), SourceOptions(recursive=False))
    assert "data.recursive=true" in refusal.value.fix


def test_two_images_of_one_name_in_two_folders_are_two_samples(tmp_path):
    """G17: a cache keyed by the stem alone mixes them up."""
    lay_out(tmp_path, "front/1.png", "back/1.png")
    (tmp_path / "front" / "1.txt").write_text("the front")
    (tmp_path / "back" / "1.txt").write_text("the back")
    found = read(tmp_path)
    assert [sample.caption for sample in found.samples] == ["the back", "the front"]
    assert found.findings == ()


def test_two_images_of_one_name_in_one_folder_share_a_caption_and_it_is_said(tmp_path):
    found = read(lay_out(tmp_path, "a.jpg", "a.png", "b.png", a="a mug", b="a mug"))
    assert said(found) == [("a.jpg", "a mug"), ("a.png", "a mug"), ("b.png", "a mug")]
    finding = the_only(found)
    assert (finding.file.name, finding.rule, finding.severity) == ("a.png", "shared-caption", Severity.warning)
    assert [other.name for other in finding.others] == ["a.jpg"]


def test_a_stray_text_file_is_listed_and_kills_nothing(tmp_path):
    """G20: a script that opens every file as an image dies of it."""
    lay_out(tmp_path, "a.png", a="a mug", b="a caption of nothing")
    finding = the_only(read(tmp_path))
    assert (finding.file.name, finding.rule) == ("b.txt", "orphan-caption")


@pytest.mark.parametrize("caption", ["a.png.txt", "A.txt"])
def test_a_caption_that_nearly_has_its_images_name_is_told_the_name(tmp_path, caption):
    lay_out(tmp_path, "a.png")
    (tmp_path / caption).write_text("a mug")
    finding = the_only(read(tmp_path))
    assert finding.rule == "orphan-caption"
    assert "rename it to a.txt" in finding.fix


def test_what_belongs_to_a_set_by_custom_is_no_finding(tmp_path):
    lay_out(tmp_path, "a.png", a="a mug", prompts="TOK on a boat")
    for name in ("README.md", "LICENSE", ".DS_Store", "Thumbs.db"):
        (tmp_path / name).write_text("words")
    assert read(tmp_path).findings == ()


def test_an_image_called_readme_has_its_caption(tmp_path):
    assert said(read(lay_out(tmp_path, "readme.png", readme="a page"))) == [("readme.png", "a page")]


def test_files_of_other_kinds_are_listed_once_for_each_kind(tmp_path):
    lay_out(tmp_path, "a.png", a="a mug")
    for name in ("1.npz", "2.npz", "b.jxl", "c.docx", "d.tar"):
        (tmp_path / name).write_bytes(b"\x00")
    found = read(tmp_path)
    assert spoken_of(found) == [
        ("1.npz", "ignored-file"),
        ("b.jxl", "unread-picture"),
        ("c.docx", "ignored-file"),
        ("d.tar", "ignored-file"),
    ]
    assert [other.name for other in found.findings[0].others] == ["2.npz"]
    assert "data.sources" in found.findings[3].fix


def test_a_caption_file_of_either_ending_is_read(tmp_path):
    """G24: others read .caption alone, or .txt alone."""
    lay_out(tmp_path, "a.png", "b.png", "c.PNG", a="a mug")
    (tmp_path / "b.caption").write_text("a jug")
    (tmp_path / "c.TXT").write_text("a cup")
    found = read(tmp_path)
    assert said(found) == [("a.png", "a mug"), ("b.png", "a jug"), ("c.PNG", "a cup")]
    assert found.findings == ()


def test_caption_files_that_disagree_are_said_and_txt_wins(tmp_path):
    lay_out(tmp_path, "a.png", "b.png", a="a mug", b="a jug")
    (tmp_path / "a.caption").write_text("another mug")
    (tmp_path / "b.caption").write_text("a jug\n")
    found = read(tmp_path)
    assert said(found) == [("a.png", "a mug"), ("b.png", "a jug")]
    assert spoken_of(found) == [("a.png", "two-captions")]


def test_a_missing_caption_says_where_it_would_be_written(tmp_path):
    sample = read(lay_out(tmp_path, "a.png")).samples[0]
    assert (sample.caption, sample.caption_file, sample.encoding) == ("", tmp_path / "a.txt", "")


def test_a_caption_that_is_no_text_is_an_error_and_stays_empty(tmp_path):
    lay_out(tmp_path, "a.png")
    (tmp_path / "a.txt").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    found = read(tmp_path)
    finding = the_only(found)
    assert (finding.file.name, finding.rule, finding.fatal) == ("a.png", "undecodable-caption", True)
    assert (found.samples[0].caption, found.samples[0].encoding) == ("", "")


def test_captions_in_other_encodings_are_read_and_noted_once_for_each(tmp_path):
    lay_out(tmp_path, "a.png", "b.png", "c.png", "d.png", a="a café")
    (tmp_path / "b.txt").write_bytes("a café".encode("cp1252"))
    (tmp_path / "c.txt").write_bytes("a café".encode("cp1252"))
    (tmp_path / "d.txt").write_bytes("a café".encode("utf-16"))
    found = read(tmp_path)
    assert {sample.caption for sample in found.samples} == {"a café"}
    assert spoken_of(found) == [("b.png", "caption-encoding"), ("d.png", "caption-encoding")]
    assert found.findings[0].severity is Severity.note
    assert [other.name for other in found.findings[0].others] == ["c.png"]


def test_prefix_and_suffix_are_put_around_each_caption_as_they_are(tmp_path):
    lay_out(tmp_path, "a.png", "b.png", a="a mug\na TOK mug")
    source = SourceConfig(path=str(tmp_path), prefix="photo of ", suffix=", matte")
    found = find([source], SourceOptions(caption_lines=CaptionLines.variants))
    assert found.samples[0].captions == ("photo of a mug, matte", "photo of a TOK mug, matte")
    assert found.samples[1].captions == ()


def test_kohyas_folder_names_are_read_as_what_they_are_and_said(tmp_path):
    lay_out(tmp_path, "10_tok mug/a.png", "10_tok mug/deep/b.png", "c.png")
    found = find([SourceConfig(path=str(tmp_path), repeats=2)], SourceOptions())
    assert {sample.image.name: sample.repeats for sample in found.samples} == {"a.png": 20, "b.png": 20, "c.png": 2}
    assert "10_tok mug: read as 10 repeats, class tok mug (kohya's folder name)" in found.remarks


@pytest.mark.parametrize("name", ["01_front", "2024_summer", "10", "mug_10", "0_mug"])
def test_folders_that_only_look_like_kohyas_are_plain_folders(tmp_path, name):
    found = read(lay_out(tmp_path, f"{name}/a.png"))
    assert found.samples[0].repeats == 1
    assert not any("kohya" in remark for remark in found.remarks)


def test_that_folders_below_were_read_is_said_in_one_line_with_how_many_images_each_holds(tmp_path):
    lay_out(tmp_path, "a.png", "more/deep/b.png", "more/deep/c.png", "x/d.png", *(f"y{n}/e.png" for n in range(9)))
    (remark,) = find([SourceConfig(path=str(tmp_path))], SourceOptions()).remarks
    assert remark.startswith(f"{tmp_path.name}: the folders below it were read too: more/deep (2), x (1), y0 (1)")
    assert remark.endswith(" and 6 more")
    assert find([SourceConfig(path=str(tmp_path / "x"))], SourceOptions()).remarks == ()


def test_a_source_inside_another_keeps_its_role(tmp_path):
    lay_out(tmp_path, "a.png", "plain/b.png")
    plain = SourceConfig(path=str(tmp_path / "plain"), role=SourceRole.regularisation)
    found = find([SourceConfig(path=str(tmp_path)), plain], SourceOptions())
    assert [(sample.image.name, sample.role.value) for sample in found.samples] == [
        ("a.png", "subject"),
        ("b.png", "regularisation"),
    ]


def test_held_out_images_of_any_name_are_kept_out_and_can_be_read_themselves(tmp_path):
    lay_out(tmp_path, "a.png", "test/b.png")
    wanted = SourceOptions(apart=(tmp_path / "test",))
    assert said(read(tmp_path, wanted)) == [("a.png", "")]
    assert said(read(tmp_path / "test", wanted)) == [("b.png", "")]


def test_links_are_followed_once_and_those_to_nowhere_are_said(tmp_path):
    lay_out(tmp_path / "set", "a.png", a="a mug")
    lay_out(tmp_path / "elsewhere", "b.png", b="a jug")
    (tmp_path / "set" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "round").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "lost.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "set" / "self.png").symlink_to(tmp_path / "set" / "self.png")
    found = read(tmp_path / "set")
    assert said(found) == [("a.png", "a mug"), ("b.png", "a jug")]
    assert spoken_of(found) == [("lost.png", "unread-picture"), ("self.png", "unread-picture")]


def test_a_pipe_with_an_images_name_is_not_waited_for(tmp_path):
    lay_out(tmp_path, "a.png", a="a mug")
    os.mkfifo(tmp_path / "b.png")
    assert spoken_of(read(tmp_path)) == [("b.png", "unread-picture")]


def test_a_name_that_is_not_utf_8_is_said_in_letters_that_print(tmp_path):
    lay_out(tmp_path, "a.png", a="a mug")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.png", "wb") as odd:  # noqa: PTH123
        odd.write(image_bytes())
    finding = the_only(read(tmp_path))
    assert (finding.file, finding.rule) == (tmp_path, "unread-picture")
    finding.problem.encode()


def test_nothing_of_the_users_is_changed(tmp_path):
    lay_out(tmp_path, "a.png", "10_mug/b.png", "b_mask.png", a="a mug", lone="nothing")
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,another\n")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    read(tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
