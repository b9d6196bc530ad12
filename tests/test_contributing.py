"""CONTRIBUTING.md is true: what it names is there, and what it says of rooms is what there is."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:flux_lora|tests|recipes|benchmarks)/[\w./-]+|pyproject\.toml)`", TEXT)))
IN_PACKAGE = sorted(
    set(re.findall(r"`((?:data|flow|models|train|render|evaluate|adapter|runs|share)/[\w./-]+\.py)`", TEXT))
)


def test_it_names_files():
    assert len(NAMED) > 40 and len(IN_PACKAGE) > 20


@pytest.mark.parametrize("name", NAMED)
def test_a_file_that_is_named_exists(name: str):
    assert (ROOT / name).exists()


@pytest.mark.parametrize("name", IN_PACKAGE)
def test_a_file_on_the_path_of_a_datum_exists(name: str):
    assert (ROOT / "flux_lora" / name).is_file()


@pytest.mark.parametrize("name", re.findall(r"`([A-Z][A-Z_]+)`", TEXT))
def test_a_table_that_is_named_is_in_the_package(name: str):
    assert any(re.search(rf"^{name}\b", file.read_text(), re.MULTILINE) for file in (ROOT / "flux_lora").rglob("*.py"))


def test_every_room_of_the_package_is_on_the_map():
    rooms = {folder.name for folder in (ROOT / "flux_lora").iterdir() if (folder / "__init__.py").is_file()}
    shown = set(re.findall(r"^  (\w+)/", TEXT, re.MULTILINE))
    assert rooms <= shown


@pytest.mark.parametrize(
    "folder", [init.parent for init in (ROOT / "flux_lora").rglob("__init__.py")], ids=lambda folder: folder.name
)
def test_the_map_in_a_folder_lists_its_files(folder: Path):
    text = (folder / "__init__.py").read_text(encoding="utf-8")
    files = {file.name for file in folder.glob("*.py")} - {"__init__.py", "__main__.py"}
    folders = {inner.parent.name for inner in folder.glob("*/__init__.py")}
    missing = {name for name in files | {f"{name}/" for name in folders} if name not in text}
    assert folder.name == "flux_lora" or not missing
