"""The deliberately broken folder: every planted defect is found, and nothing else is."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from flux_lora.config.choices import AlphaPolicy
from flux_lora.config.compose import compose_config
from flux_lora.data.checks.registry import rule
from flux_lora.data.images.decode import open_image
from flux_lora.data.samples import IMAGE_ENDINGS
from flux_lora.runs.dataset import RunDataset, read_dataset
from flux_lora.runs.run import Run
from tests.broken_folder import FOLDER, write_words
from tests.broken_truth import ABOUT_THE_MACHINE, DECODED, WRONG

MOST_BYTES = 20_480
HIDDEN = (255, 0, 190)


@pytest.fixture(scope="module")
def material() -> RunDataset:
    words = ["data.trigger=zorb", "data.class_word=mug", "data.kind=product"]
    config = compose_config(
        ["recipe=photos", "model=flux_dev", f"data.folder={FOLDER}", "data.resolution=256", *words],
    )
    return read_dataset(Run(config))


def test_every_planted_defect_is_found_and_nothing_else(material: RunDataset):
    found = Counter(
        (str(each.file.relative_to(FOLDER)), each.rule)
        for each in material.findings
        if each.rule not in ABOUT_THE_MACHINE
    )
    planted = Counter((file, each) for file, rules in WRONG.items() for each in rules)
    assert sorted((found - planted).elements()) == [], "said of a file that is well"
    assert sorted((planted - found).elements()) == [], "not found"


def test_a_group_names_its_other_images(material: RunDataset):
    others = {each.rule: [other.name for other in each.others] for each in material.findings if each.others}
    assert others["near-picture"] == ["mug_18.jpg"]
    assert others["same-picture"] == ["mug_17.webp"]
    assert others["same-caption"] == ["mug_16.jpg"]
    assert others["held-out-twin"] == ["mug_01.jpg"]


def test_every_finding_says_what_is_wrong_and_what_to_do(material: RunDataset):
    for each in material.findings:
        assert rule(each.rule).severity is each.severity
        assert each.problem and each.fix
        assert str(FOLDER) not in each.problem


@pytest.mark.parametrize("name", DECODED)
def test_what_decoding_puts_right_is_said(name: str, material: RunDataset):
    notes = {seen.sample.image.name: seen.notes for seen in material.scanned}
    assert notes[name] == (DECODED[name],)


def test_what_decoding_puts_right_is_right():
    assert open_image(FOLDER / "mug_24.jpg", AlphaPolicy.composite).size == (320, 240)
    cut_out = np.asarray(open_image(FOLDER / "mug_25.png", AlphaPolicy.composite)).astype(int)
    assert np.abs(cut_out - np.array(HIDDEN)).max(axis=2).min() > 60, "the hidden pink is nowhere"
    grey = np.asarray(open_image(FOLDER / "mug_26.png", AlphaPolicy.composite))
    assert 60 < grey.mean() < 180, "scaled, not clipped to white"


def test_the_folder_holds_30_small_images_and_its_words_are_those_of_the_script(tmp_path: Path):
    images = [file for file in FOLDER.rglob("*") if file.suffix in IMAGE_ENDINGS and ".mask" not in file.name]
    assert len(images) == 30
    assert max(file.stat().st_size for file in FOLDER.rglob("*") if file.is_file()) <= MOST_BYTES
    (tmp_path / "held_out").mkdir()
    write_words(tmp_path)
    for made in (file for file in tmp_path.rglob("*") if file.is_file()):
        assert (FOLDER / made.relative_to(tmp_path)).read_bytes() == made.read_bytes()
