"""What goes out, as a .zip or to the hub, is what was exported and nothing else, and tells no place of this machine."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from flux_lora.__main__ import answer
from flux_lora.commands.export_adapter import export_adapter
from flux_lora.config.choices import ExportDialect
from flux_lora.config.file_verbs import ExportAdapterArgs
from flux_lora.config.schema import ExportConfig
from tests.commands.example_runs import adapter, names_in, written
from tests.share.local_comfyui import TOKEN, stand_in

SEVERAL = (ExportDialect.diffusers, ExportDialect.comfyui, ExportDialect.kohya)


def asked(source: Path, **export: object) -> ExportAdapterArgs:
    return ExportAdapterArgs(adapter=str(source), export=ExportConfig(**export))  # type: ignore[arg-type]


@pytest.fixture
def mug(tmp_path: Path) -> Path:
    """A file in another tool's names."""
    return written(tmp_path / "in" / "mug v1.5.safetensors", adapter(), dialect="onetrainer")


def test_the_zip_lies_beside_the_first_file_with_just_what_was_made(mug: Path, tmp_path: Path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "secret.txt").write_text("mine")
    dialects = (ExportDialect.diffusers, ExportDialect.peft)
    export_adapter(asked(mug, dialects=dialects, dir=str(tmp_path / "new"), name="cup", bundle=True))
    assert sorted(ZipFile(tmp_path / "new" / "cup.zip").namelist()) == [
        "cup/cup.export.json",
        "cup/cup.peft/adapter_config.json",
        "cup/cup.peft/adapter_model.safetensors",
        "cup/cup.safetensors",
    ]


def test_in_the_folder_one_stands_in_the_zip_has_a_name_too(mug: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(mug.parent)
    assert answer(["export", f"adapter={mug.name}", "export.file=cup.safetensors", "export.bundle=true"]) == 0
    assert names_in(tmp_path) == [
        "in",
        "in/cup.export.json",
        "in/cup.safetensors",
        "in/cup.zip",
        "in/mug v1.5.safetensors",
    ]


def test_a_dry_run_says_what_would_go_up_and_asks_nobody(mug: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    export_adapter(
        asked(mug, dialects=SEVERAL, dir=str(tmp_path / "new"), name="cup", push_to_hub="me/cup", dry_run=True)
    )
    said = capsys.readouterr().out.splitlines()[-1]
    assert said.startswith("would go to ") and "/me/cup: " in said
    assert said.partition(": ")[2].split(", ") == names_in(tmp_path / "new")


def test_the_upload_brings_just_these_files_and_no_place_of_this_machine(mug: Path, tmp_path: Path):
    with stand_in() as hub:
        surroundings = {
            **os.environ,
            "HF_ENDPOINT": hub.address,
            "HF_HUB_OFFLINE": "0",
            "HF_TOKEN": TOKEN,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "OMP_NUM_THREADS": "1",
        }
        words = [f"adapter={mug}", f"export.dir={tmp_path / 'new'}", "export.name=cup", "export.push_to_hub=me/cup"]
        command = [sys.executable, "-m", "flux_lora", "export", *words]
        seen = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
        assert seen.returncode == 0, seen.stderr
        there = hub.repos["me/cup"]
    assert there.private and sorted(there.files) == ["cup.export.json", "cup.safetensors"]
    assert not any(str(tmp_path).encode() in contents for contents in there.files.values())
