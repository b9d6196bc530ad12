"""What crops must keep of an image is found once, and again only where the image or the question is another."""

from pathlib import Path

import pytest
from PIL import Image

from flux_lora.config.choices import AlphaPolicy, CropMode
from flux_lora.data.bucketing.crops import protected_box
from flux_lora.data.cache.index import (
    IndexEntry,
    SubjectBoxes,
    add_index_entry,
    add_subject_boxes,
    prune_index,
    read_index,
    read_subject_boxes,
)
from flux_lora.data.samples import Box, Sample
from tests.data.colours import grow_old
from tests.data.drawn_images import gradient, write_sample


class Finder:
    """kept_part, counting how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def find(self, sample: Sample) -> Box | None:
        self.asked += 1
        return protected_box(sample, CropMode.subject, AlphaPolicy.composite)


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """A dark thing at the right, painted an hour ago."""
    image = Image.new("RGB", (400, 120), "white")
    image.paste((20, 30, 40), (300, 20, 380, 100))
    made = write_sample(tmp_path / "photos", "a.png", "a mug", image)
    grow_old(made.image)
    return made


def test_an_image_is_not_looked_at_again_once_its_part_is_written(tmp_path, sample):
    finder = Finder()
    first = SubjectBoxes(tmp_path / "cache", finder.find, "subject")
    found = first.box_of(sample)
    assert found is not None and found.left > 200
    assert first.box_of(sample) == found and finder.asked == 1
    assert not (tmp_path / "cache").exists(), "nothing is written before it is asked for"
    first.write(tmp_path / "cache")
    assert SubjectBoxes(tmp_path / "cache", finder.find, "subject").box_of(sample) == found and finder.asked == 1


def test_a_changed_image_and_another_question_are_looked_at_anew(tmp_path, sample):
    finder = Finder()
    first = SubjectBoxes(tmp_path, finder.find, "subject")
    found = first.box_of(sample)
    first.write(tmp_path)
    SubjectBoxes(tmp_path, finder.find, "centre").box_of(sample)
    assert finder.asked == 2
    gradient(400, 120).save(sample.image)
    assert SubjectBoxes(tmp_path, finder.find, "subject").box_of(sample) != found


def test_that_nothing_stands_out_is_remembered_too(tmp_path):
    flat, finder = write_sample(tmp_path, "flat.png", "a mug", Image.new("RGB", (300, 100), "navy")), Finder()
    grow_old(flat.image)
    first = SubjectBoxes(tmp_path, finder.find)
    assert first.box_of(flat) is None
    first.write(tmp_path)
    assert SubjectBoxes(tmp_path, finder.find).box_of(flat) is None and finder.asked == 1


def test_parts_and_glances_share_an_index_and_pruning_spares_parts(tmp_path):
    add_index_entry(tmp_path, "a", IndexEntry("latent-1"))
    add_subject_boxes(tmp_path, {"b": Box(1, 2.5, 3, 4), "c": None})
    assert read_index(tmp_path) == {"a": IndexEntry("latent-1")}
    prune_index(tmp_path, ())
    assert read_index(tmp_path) == {}
    assert read_subject_boxes(tmp_path) == {"b": Box(1, 2.5, 3, 4), "c": None}
    assert read_subject_boxes(tmp_path / "not there") == {}
