"""Beside the file lies all it takes to use it, and nothing of the user's is lost."""

import json
from zipfile import ZipFile

import pytest

from flux_lora.errors import RunError
from flux_lora.share.card import IMAGES, MARKER
from flux_lora.share.publish import bundle
from flux_lora.share.validate import workflow_faults
from flux_lora.share.write import write_companions
from tests.share.example_models import product_in

ALL = sorted(
    [
        "README.md",
        "diffusers_example.py",
        f"{IMAGES}/00.png",
        f"{IMAGES}/01.png",
        "workflow.json",
        "workflow_api.json",
        "zubo.safetensors",
        "zubo_kohya.safetensors",
    ]
)


def test_workflow_example_images_and_card_come_to_lie_beside_the_file(tmp_path):
    folder = tmp_path / "export"
    files = write_companions(folder, product_in(folder))
    assert [file.relative_to(folder).as_posix() for file in files] == ALL
    assert [file for file in sorted(folder.rglob("*")) if file.is_file()] == list(files), "and nothing else"
    assert (
        workflow_faults((folder / "workflow.json").read_text())
        == workflow_faults((folder / "workflow_api.json").read_text())
        == []
    )
    assert "zubo" in json.dumps(json.loads((folder / "workflow.json").read_text()))
    compile((folder / "diffusers_example.py").read_text(), "example", "exec")


def test_filling_twice_gives_the_same_bytes(tmp_path):
    folder = tmp_path / "export"
    before = [file.read_bytes() for file in write_companions(folder, product_in(folder))]
    assert [file.read_bytes() for file in write_companions(folder, product_in(folder))] == before


def test_a_card_that_a_person_made_their_own_stays(tmp_path):
    folder = tmp_path / "export"
    product = product_in(folder)
    write_companions(folder, product)
    card = folder / "README.md"
    card.write_text("changed\n" + card.read_text())
    write_companions(folder, product)
    assert not card.read_text().startswith("changed"), "the line that says so is still there"
    card.write_text(card.read_text().replace(MARKER, "") + "mine\n")
    write_companions(folder, product)
    assert card.read_text().endswith("mine\n")


def test_a_missing_file_is_named(tmp_path):
    folder = tmp_path / "export"
    product = product_in(folder)
    (folder / "zubo_kohya.safetensors").unlink()
    with pytest.raises(RunError, match="zubo_kohya.safetensors is not there"):
        write_companions(folder, product)


def test_the_zip_holds_just_these_files_and_is_the_same_each_time(tmp_path):
    folder = tmp_path / "export"
    files = write_companions(folder, product_in(folder))
    (folder / "secret.txt").write_text("mine")
    packed = bundle(folder, files, tmp_path / "zubo.zip")
    first = packed.read_bytes()
    with ZipFile(packed) as opened:
        assert opened.testzip() is None
        assert opened.namelist() == [f"zubo/{name}" for name in ALL]
        assert opened.read("zubo/zubo.safetensors") == (folder / "zubo.safetensors").read_bytes()
    for file in files:
        file.touch()
    assert bundle(folder, files[::-1], tmp_path / "zubo.zip").read_bytes() == first
    assert not list(tmp_path.glob("*.partial"))
