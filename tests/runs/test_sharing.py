"""export run=… leaves a folder that is ready to use: files, workflow, example, card and images."""

import ast
import json
from base64 import b64decode
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from shutil import copytree
from zipfile import ZipFile

import pytest
from huggingface_hub import ModelCard
from PIL import Image

from flux_lora.__main__ import answer
from flux_lora.adapter.files import read_contents
from flux_lora.commands.run import run
from flux_lora.commands.terminal import FELL_SHORT
from flux_lora.config.compose import compose_config
from flux_lora.errors import AdapterFileError, RunError
from flux_lora.share.validate import workflow_faults
from tests.commands.example_runs import apart, deltas, names_in, said_of
from tests.test_path import PROMPTS, photograph, settings

BESIDE = {"README.md", "diffusers_example.py", "workflow.json", "workflow_api.json"}


@pytest.fixture(scope="module")
def trained(tiny_flux: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that went all the way, once for all tests here."""
    folder = tmp_path_factory.mktemp("somebody")
    for number in range(5):
        photograph(folder / "photos" / f"{number}.png", number, f"a zorb mug in place number {number}")
    for number in range(5, 8):
        photograph(folder / "photos" / "held_out" / f"{number}.png", number, "")
    (folder / "photos" / "prompts.txt").write_text(PROMPTS)
    assert run(compose_config(settings(tiny_flux, folder / "photos", folder / "runs" / "mug"))) == FELL_SHORT
    return folder / "runs" / "mug"


@pytest.fixture
def finished(trained: Path, tmp_path: Path) -> Path:
    """A copy of that folder that a test may do anything to."""
    return copytree(trained, tmp_path / "mug")


def export(folder: Path, *words: str) -> Path:
    """What export makes of the run, and where."""
    assert answer(["export", f"run={folder}", *words]) == 0
    return folder / "export"


pytestmark = pytest.mark.filterwarnings("default")


def test_the_folder_holds_everything_that_its_users_need(finished: Path):
    made = export(finished, "export.name=cup")
    files = set(names_in(made))
    assert BESIDE | {"cup.safetensors", "pictures/00.png"} <= files
    for name in ("workflow.json", "workflow_api.json"):
        assert not workflow_faults((made / name).read_text()) and "cup.safetensors" in (made / name).read_text()
    assert "cup.safetensors" in (made / "diffusers_example.py").read_text()
    ast.parse((made / "diffusers_example.py").read_text())


def test_the_card_names_trigger_scores_and_images_that_are_there(finished: Path):
    made = export(finished)
    card = ModelCard((made / "README.md").read_text())
    told = card.data.to_dict()
    assert told["instance_prompt"] == "zorb" and told["base_model"] == "black-forest-labs/FLUX.1-dev"
    assert told["widget"] and all((made / each["output"]["url"]).is_file() for each in told["widget"])
    assert "Likeness" in card.text and "zorb" in card.text


def test_the_file_carries_a_small_image_its_recipe_and_no_place_on_this_machine(finished: Path):
    told = said_of(export(finished) / "zorb.safetensors")
    kind, _, image = told["modelspec.thumbnail"].partition(",")
    assert kind == "data:image/jpeg;base64" and len(image) < 100_000
    assert max(Image.open(BytesIO(b64decode(image))).size) <= 256
    assert json.loads(told["flux_lora.recipe"])["train"]["steps"] == 6
    assert "somebody" not in json.dumps(told) and str(finished.parent) not in json.dumps(told)


def test_every_dialect_is_proven_and_stands_in_the_summary_and_on_the_card(finished: Path):
    made = export(finished, "export.dialects=[peft,kohya,diffusers]", "export.dtype=fp32")
    kept = json.loads((finished / "summary.json").read_text())["files"]
    assert [Path(each["file"]).name for each in kept] == ["zorb.safetensors", "zorb.kohya.safetensors", "zorb.peft"]
    first = deltas(made / "zorb.safetensors")
    for each in kept:
        place = Path(each["file"])
        file = place / "adapter_model.safetensors" if place.is_dir() else place
        assert each["sha256"] == sha256(file.read_bytes()).hexdigest()
        assert apart(deltas(place), first) < 1e-5 and read_contents(place).dialect in place.name + "diffusers"
    card = (made / "README.md").read_text()
    assert "zorb.kohya.safetensors" in card and "zorb.peft/adapter_model.safetensors" in card


def test_the_zip_holds_all_that_is_for_others_and_nothing_else(finished: Path, tiny_flux: Path):
    (finished / "export" / "secret.txt").write_text("mine")
    made = export(finished, "export.dialects=[diffusers,peft]", "export.bundle=true")
    packed = ZipFile(made / "zorb.zip")
    names = set(packed.namelist())
    wanted = {"zorb.safetensors", "zorb.peft/adapter_config.json", "zorb.peft/adapter_model.safetensors", *BESIDE}
    assert {f"zorb/{name}" for name in wanted} <= names
    assert all(name.removeprefix("zorb/pictures/").endswith(".png") for name in names - {f"zorb/{n}" for n in wanted})
    for name in names:
        assert str(tiny_flux).encode() not in packed.read(name) and str(finished).encode() not in packed.read(name)


def test_what_would_go_to_the_hub_is_said_and_tells_no_place_of_this_machine(
    finished: Path, tiny_flux: Path, capsys: pytest.CaptureFixture[str]
):
    made = export(finished, "export.push_to_hub=me/mug", "export.dry_run=true")
    said = capsys.readouterr().out.splitlines()[-1]
    listed = said.partition("/me/mug: ")[2].split(", ")
    assert said.startswith("would go to") and BESIDE | {"zorb.safetensors"} <= set(listed)
    for name in listed:
        contents = (made / name).read_bytes()
        assert b"somebody" not in contents and str(tiny_flux).encode() not in contents, name
        assert str(finished).encode() not in contents, name


def test_exporting_again_makes_the_same_files_anew(finished: Path):
    made = export(finished)
    before = names_in(made)
    assert names_in(export(finished)) == before and not list(finished.rglob("*.partial"))


def test_a_readme_that_a_person_made_their_own_stays(finished: Path):
    (finished / "export" / "README.md").write_text("mine")
    assert (export(finished) / "README.md").read_text() == "mine"


def test_a_file_of_somebody_else_is_left_alone_and_the_run_s_own_is_made_anew(finished: Path, tmp_path: Path):
    out = tmp_path / "loras" / "mug.safetensors"
    out.parent.mkdir()
    out.write_text("mine")
    with pytest.raises(RunError, match="is there already, and is not of this run"):
        export(finished, f"export.file={out}")
    assert names_in(out.parent) == ["mug.safetensors"] and out.read_text() == "mine"
    out.unlink()
    export(finished, f"export.file={out}")
    export(finished, f"export.file={out}")
    assert read_contents(out).dialect == "diffusers"


def test_the_run_s_own_folder_may_be_named_in_other_words(finished: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished.parent)
    export(Path(finished.name), f"export.dir={finished / 'export'}")
    export(finished, "export.dir=mug/export")


@pytest.mark.parametrize("name", ["workflow.json", "diffusers_example.py", "pictures/mine.png", "mug.zip"])
def test_what_others_keep_in_the_folder_is_left_alone(name: str, finished: Path, tmp_path: Path):
    theirs = tmp_path / "loras" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    before = names_in(tmp_path / "loras")
    with pytest.raises(RunError, match=f"{name.partition('/')[0]} is there already"):
        export(finished, f"export.file={tmp_path / 'loras' / 'mug.safetensors'}", "export.bundle=true")
    assert names_in(tmp_path / "loras") == before and theirs.read_text() == "mine"


def test_a_dialect_without_room_stops_all_before_the_first_file(finished: Path):
    with pytest.raises(AdapterFileError, match="xlabs"):
        export(finished, "export.name=cup", "export.dialects=[diffusers,xlabs]")
    assert not list((finished / "export").glob("cup*"))
