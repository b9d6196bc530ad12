"""check, as a person and as CI see it."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from flux_lora.commands.check import check
from flux_lora.config.compose import compose_config
from flux_lora.errors import ConfigError, DataError, RunError
from flux_lora.runs.preflight import preflight
from flux_lora.runs.run import Run
from tests.data.drawn_images import gradient, write_sample


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A sound image and one without a caption."""
    folder = tmp_path / "photos"
    write_sample(folder, "a.png", "a photo of a zorb mug on a wooden table", gradient(96, 96))
    write_sample(folder, "b.png", None, gradient(96, 96, seed=3))
    return folder


def asked(photos: Path, *more: str) -> list[str]:
    return [
        "recipe=demo",
        f"data.folder={photos}",
        "data.trigger=zorb",
        "data.class_word=mug",
        "data.resolution=64",
        f"run.dir={photos.parent / 'run'}",
        *more,
    ]


def test_an_error_ends_with_2_and_a_page_that_names_it(photos: Path, capsys: pytest.CaptureFixture[str]):
    assert check(compose_config(asked(photos))) == 2
    assert "no-caption" in capsys.readouterr().out
    page = (photos.parent / "run" / "dataset" / "report.html").read_text()
    assert "b.png" in page and "no-caption" in page


def test_teaching_is_refused_and_leaves_nothing(photos: Path):
    with pytest.raises(DataError, match="has no caption"):
        preflight(Run(compose_config(asked(photos))))
    assert not (photos.parent / "run").exists()


def test_sides_that_are_not_whole_tokens_of_the_base_are_refused_all_at_once(photos: Path):
    with pytest.raises(ConfigError) as caught:
        preflight(Run(compose_config(asked(photos, "data.resolution=1000", "preview.size=100"))))
    assert caught.value.problem.splitlines() == [
        "data.resolution is 1000, not a multiple of 16",
        "preview.size is 100, not a multiple of 16",
    ]
    assert caught.value.fix.split() == ["set", "data.resolution=992", "set", "preview.size=96"]


def test_a_rule_that_is_off_does_not_bind_and_its_reason_is_said(photos: Path, capsys: pytest.CaptureFixture[str]):
    off = "check.off=[{rule: no-caption, reason: captions come later}]"
    assert check(compose_config(asked(photos, off, "check.page=false"))) == 0
    assert "captions come later" in capsys.readouterr().out
    assert not (photos.parent / "run").exists()


def test_a_page_that_cannot_be_written_is_an_error_with_its_fix_and_the_findings_are_said_all_the_same(
    photos: Path, capsys: pytest.CaptureFixture[str]
):
    (photos.parent / "run").write_text("a file where the folder should be")
    with pytest.raises(RunError, match=r"report\.html cannot be written") as refusal:
        check(compose_config(asked(photos)))
    assert "check.page=false" in refusal.value.fix
    assert "no-caption" in capsys.readouterr().out


def test_a_rule_that_there_is_not_is_refused(photos: Path):
    with pytest.raises(ConfigError, match="no-captions"):
        check(compose_config(asked(photos, "check.off=[{rule: no-captions, reason: x}]")))


def test_programs_get_json_sarif_and_junit_on_standard_output(photos: Path, capsys: pytest.CaptureFixture[str]):
    said = {}
    for form in ("json", "sarif", "junit"):
        assert check(compose_config(asked(photos, f"check.format={form}", "check.page=false"))) == 2
        said[form] = capsys.readouterr().out
    assert json.loads(said["json"])["errors"] == 1
    assert "no-caption" in {each["ruleId"] for each in json.loads(said["sarif"])["runs"][0]["results"]}
    assert ElementTree.fromstring(said["junit"]).get("failures") == "1"


def test_photos_alone_are_judged_without_a_trigger_but_nothing_is_taught_without_one(photos: Path):
    (photos / "b.txt").write_text("a photo of a green mug on a chair")
    alone = ["recipe=photos", f"data.folder={photos}", "check.page=false", "data.resolution=64", "model=mini"]
    assert check(compose_config(alone)) == 0
    with pytest.raises(ConfigError, match="data.trigger is empty"):
        preflight(Run(compose_config(alone)))


def test_images_that_are_masked_by_their_transparency_are_counted_aloud(
    photos: Path, capsys: pytest.CaptureFixture[str]
):
    half = gradient(96, 96, seed=3).convert("RGBA")
    half.putalpha(gradient(96, 96).convert("L").point([0] * 90 + [255] * 166))
    half.save(photos / "b.png")
    for policy, said in (("mask", True), ("composite", False)):
        check(compose_config(asked(photos, f"data.alpha={policy}", "check.page=false")))
        assert ("1 of 2 images are masked by their transparency; masked loss on" in capsys.readouterr().out) is said


def test_a_dataset_with_columns_of_its_own_is_judged_as_the_only_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    write_sample(tmp_path / "photos", "a.png", None, gradient(96, 96))
    table = tmp_path / "photos" / "list.csv"
    table.write_text("shot,said\na.png,a photo of a zorb mug on a table\n")
    columns = ("data.image_column=shot", "data.caption_column=said", "check.page=false")
    assert check(compose_config(asked(tmp_path / "photos", f"data.folder={table}", *columns))) == 0
    assert "no-caption" not in capsys.readouterr().out


def test_check_starts_without_the_libraries_of_training():
    """They take seconds to import."""
    program = "import sys, flux_lora.commands.check; print({'peft', 'diffusers', 'bitsandbytes'} & set(sys.modules))"
    seen = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert seen.stdout.strip() == "set()"
