from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from flux_lora.config.choices import SourceRole
from flux_lora.data.captioning.captioner import (
    LONGEST_SIDE,
    CaptionTemplate,
    as_diff,
    lacks_caption,
    propose,
    propose_longer,
    write,
)
from flux_lora.data.samples import Sample
from flux_lora.errors import DataError
from tests.data.drawn_images import gradient, write_sample
from tests.data.samples_of import find_samples

PHRASE = CaptionTemplate("a photo of a {trigger} {class}, {caption}", trigger="zorb", class_word="mug")


def lone(folder: Path, name: str, caption: str | None = None) -> Sample:
    """An image in a folder of files, as it is found there."""
    sample = write_sample(folder, name, caption)
    return found(sample.image, caption or "")


def found(image: Path, caption: str = "") -> Sample:
    """A sample as a folder's are."""
    return Sample(image, caption, caption_file=image.with_suffix(".txt"))


def say_its_shape(image: Image.Image) -> str:
    """A model of few words."""
    return "The image shows a wide wall." if image.width > image.height else "The image shows a tall wall."


def test_an_image_without_a_caption_is_described_and_others_are_left_alone(tmp_path: Path):
    samples = [lone(tmp_path, "a.png"), lone(tmp_path, "b.png", "a zorb mug on a shelf")]
    (proposal,) = propose(samples, say_its_shape, PHRASE)
    assert proposal.file == tmp_path / "a.txt"
    assert proposal.after == "a photo of a zorb mug, a wide wall."
    assert not proposal.file.exists()


def test_the_model_sees_an_image_upright_and_no_larger_than_it_needs(tmp_path: Path):
    turned = Image.Exif()
    turned[0x0112] = 6
    gradient(2400, 1200).save(tmp_path / "a.jpg", exif=turned)
    seen: list[tuple[int, int]] = []
    list(propose([found(tmp_path / "a.jpg")], lambda image: seen.append(image.size) or "a wall", PHRASE))
    assert seen == [(LONGEST_SIDE // 2, LONGEST_SIDE)]


def test_a_written_caption_is_read_back_and_the_next_run_has_nothing_to_do(tmp_path: Path):
    sample = lone(tmp_path, "größe.png")
    (proposal,) = propose([sample], lambda _: "a wall in Łódź", PHRASE)
    write(proposal)
    (again,) = find_samples(tmp_path)
    assert again.caption == "a photo of a zorb mug, a wall in Łódź"
    assert (tmp_path / "größe.txt").read_bytes().endswith("Łódź\n".encode())
    assert not lacks_caption(again)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["größe.png", "größe.txt"]


def test_a_caption_is_replaced_only_when_asked(tmp_path: Path):
    sample = lone(tmp_path, "a.png", "my own words")
    assert list(propose([sample], say_its_shape, PHRASE)) == []
    (proposal,) = propose([sample], say_its_shape, PHRASE, overwrite=True)
    with pytest.raises(DataError, match="overwrite=true"):
        write(proposal)
    assert proposal.file.read_text().strip() == "my own words"
    write(proposal, overwrite=True)
    assert proposal.file.read_text().strip() == "a photo of a zorb mug, a wide wall."


def test_a_caption_written_by_hand_meanwhile_is_not_lost(tmp_path: Path):
    (proposal,) = propose([lone(tmp_path, "a.png")], say_its_shape, PHRASE)
    proposal.file.write_text("my own words")
    with pytest.raises(DataError, match=r"a\.txt has another caption by now"):
        write(proposal)
    assert proposal.file.read_text() == "my own words"


@pytest.mark.parametrize("blank", [b"", b" \r\n\n", b"\xef\xbb\xbf\n"])
def test_a_blank_caption_file_is_filled(tmp_path: Path, blank: bytes):
    sample = lone(tmp_path, "a.png")
    (tmp_path / "a.txt").write_bytes(blank)
    (proposal,) = propose([sample], say_its_shape, PHRASE)
    write(proposal)
    assert proposal.file.read_text().strip()


def test_a_caption_file_that_nobody_can_read_is_named_and_kept(tmp_path: Path):
    sample = lone(tmp_path, "a.png")
    (tmp_path / "a.txt").write_bytes(b"\x81\x8d\x00\xff")
    (proposal,) = propose([sample], say_its_shape, PHRASE)
    assert (proposal.after, "cannot be read" in proposal.why_not) == ("", True)
    write(proposal)
    assert (tmp_path / "a.txt").read_bytes() == b"\x81\x8d\x00\xff"


def test_an_image_that_cannot_be_read_is_named_and_the_others_go_on(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"no image")
    samples = [found(tmp_path / "a.png"), lone(tmp_path, "b.png")]
    broken, whole = propose(samples, say_its_shape, PHRASE)
    assert "cannot be read" in broken.why_not
    assert whole.after


def test_a_table_of_captions_is_not_written_to(tmp_path: Path):
    sample = lone(tmp_path, "a.png")
    (proposal,) = propose([replace(sample, caption_file=tmp_path / "metadata.csv")], say_its_shape, PHRASE)
    assert (proposal.after, "metadata.csv" in proposal.why_not) == ("", True)


def test_a_caption_goes_where_the_image_s_captions_are_kept(tmp_path: Path):
    sample = lone(tmp_path, "a.png")
    (proposal,) = propose([replace(sample, caption_file=tmp_path / "a.caption")], say_its_shape, PHRASE)
    assert proposal.file == tmp_path / "a.caption"


def test_two_images_that_share_a_caption_file_get_one_caption(tmp_path: Path):
    samples = [lone(tmp_path, name) for name in ("a.jpg", "a.png")]
    assert len(list(propose(samples, say_its_shape, PHRASE))) == 1


def test_a_regularisation_image_is_described_without_the_trigger(tmp_path: Path):
    sample = lone(tmp_path, "a.png")
    (proposal,) = propose([replace(sample, role=SourceRole.regularisation)], say_its_shape, PHRASE)
    assert proposal.after == "a photo of a mug, a wide wall."


def test_a_model_without_words_leaves_no_file(tmp_path: Path):
    (proposal,) = propose([lone(tmp_path, "a.png")], lambda _: "<|im_end|>", PHRASE)
    assert "no words" in proposal.why_not
    write(proposal)
    assert not proposal.file.exists()


def test_a_diff_shows_what_is_new_and_what_would_go(tmp_path: Path):
    (new,) = propose([lone(tmp_path, "a.png")], say_its_shape, PHRASE)
    assert as_diff(new).splitlines()[0] == "--- /dev/null"
    assert as_diff(new).splitlines()[-1] == "+a photo of a zorb mug, a wide wall."
    (other,) = propose([lone(tmp_path, "b.png", "my own words")], say_its_shape, PHRASE, overwrite=True)
    assert "-my own words" in as_diff(other).splitlines()


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path: Path):
    (proposal,) = propose([lone(tmp_path / "set", "a.png")], say_its_shape, PHRASE)
    (tmp_path / "set").rename(tmp_path / "gone")
    with pytest.raises(DataError, match=r"a\.txt cannot be written"):
        write(proposal)
    assert [file.name for file in (tmp_path / "gone").iterdir()] == ["a.png"]


def test_an_image_out_of_a_shard_has_no_place_for_a_caption(tmp_path: Path):
    unpacked = replace(lone(tmp_path, "a.png"), caption_file=None)
    (proposal,) = propose([unpacked], say_its_shape, PHRASE)
    assert (proposal.after, "shard" in proposal.why_not) == ("", True)
    write(proposal)
    assert not proposal.file.exists()


def test_a_short_caption_gets_a_description_behind_it_and_stays_as_it_was(tmp_path: Path):
    short, long = "A zorb mug — on a shelf", " ".join(["word"] * 30)
    samples = [lone(tmp_path, "a.png", short), lone(tmp_path, "b.png", long), lone(tmp_path, "c.png")]
    (proposal,) = propose_longer(samples, say_its_shape, least_words=30)
    assert as_diff(proposal).splitlines()[-2:] == [f" {short}", "+A wide wall."]
    write(proposal)
    assert (tmp_path / "a.txt").read_text() == f"{short}\nA wide wall.\n"
    (again, *_) = find_samples(tmp_path)
    assert again.caption == f"{short} A wide wall.", "its lines are one caption"


def test_a_caption_that_was_changed_meanwhile_is_not_expanded(tmp_path: Path):
    sample = lone(tmp_path, "a.png", "a zorb mug")
    (proposal,) = propose_longer([sample], say_its_shape, least_words=30)
    (tmp_path / "a.txt").write_text("a zorb mug, by hand")
    with pytest.raises(DataError, match="another caption by now"):
        write(proposal)
    assert (tmp_path / "a.txt").read_text() == "a zorb mug, by hand"


def test_a_caption_in_another_encoding_is_not_written_behind(tmp_path: Path):
    sample = lone(tmp_path, "a.png", "a zorb mug")
    (tmp_path / "a.txt").write_bytes("a zorb mug, größer".encode("latin-1"))
    (proposal,) = propose_longer([sample], say_its_shape, least_words=30)
    assert not proposal.after and "not in UTF-8" in proposal.why_not
