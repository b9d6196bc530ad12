"""An upload brings just what was named, privately, and goes on where it broke off. Against a hub on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flux_lora.errors import RunError
from flux_lora.share.card import IMAGES
from flux_lora.share.publish import push
from flux_lora.share.write import write_companions
from tests.share.example_models import PRODUCT, product_in
from tests.share.local_comfyui import TOKEN, Repo, StandIn, stand_in

PUSH = """
import json, sys
from pathlib import Path
from flux_lora.errors import RunError
from flux_lora.share.publish import push
folder, files, repo, private = json.loads(sys.argv[1])
try:
    print(json.dumps(push(Path(folder), [Path(file) for file in files], repo, private=private).files))
except RunError as error:
    print(error)
"""
SIZE = 100 * len(PRODUCT.file)


@pytest.fixture
def hub() -> Iterator[StandIn]:
    with stand_in() as running:
        yield running


@pytest.fixture
def export(tmp_path: Path) -> tuple[Path, ...]:
    """A folder ready to be shared, with something in it that is nobody's business."""
    folder = tmp_path / "export"
    files = write_companions(folder, product_in(folder))
    (folder / "secret.txt").write_text("mine")
    return files


def pushed(hub: StandIn, files: tuple[Path, ...], repo: str, *, private: bool = True, **settings: str) -> str:
    """What is printed by an upload in a process of its own: the hub's address is read once per process."""
    folder = files[0].parent
    surroundings = {
        **os.environ,
        "HF_ENDPOINT": hub.address,
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(folder.parent / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **settings,
    }
    asked = json.dumps([str(folder), [str(file) for file in files], repo, private])
    asking = [sys.executable, "-c", PUSH, asked]
    seen = subprocess.run(asking, env=surroundings, capture_output=True, text=True, timeout=60, check=False)
    assert seen.returncode == 0, seen.stderr
    return seen.stdout


def test_just_the_named_files_arrive_in_a_private_repository_in_one_commit(hub, export):
    said = pushed(hub, export, "me/zubo")
    there = hub.repos["me/zubo"]
    names = [file.relative_to(export[0].parent).as_posix() for file in export]
    assert json.loads(said) == names == sorted(there.files)
    assert there.private and there.commits == 1
    assert all(there.files[name] == file.read_bytes() for name, file in zip(names, export, strict=True))


def test_an_upload_that_broke_off_sends_only_what_is_not_there_yet(hub, export):
    hub.spoil = {SIZE}
    said = pushed(hub, export, "me/zubo")
    assert "the upload to me/zubo broke off" in said and "zubo.safetensors" in said and "run it again" in said
    assert hub.repos["me/zubo"].commits == 0 and SIZE not in hub.sent
    json.loads(pushed(hub, export, "me/zubo"))
    large = [file.stat().st_size for file in export if file.suffix in (".png", ".safetensors")]
    assert sorted(hub.sent) == sorted(large), "each once, whichever of the others were through before it broke off"
    assert hub.repos["me/zubo"].commits == 1


def test_a_cut_connection_is_told_and_a_third_time_nothing_is_left_to_do(hub, export):
    hub.hang_up = {"/commit/main"}
    assert "broke off" in pushed(hub, export, "me/zubo")
    before = len(hub.sent)
    json.loads(pushed(hub, export, "me/zubo"))
    json.loads(pushed(hub, export, "me/zubo"))
    assert len(hub.sent) == before and hub.repos["me/zubo"].commits == 1


def test_nothing_goes_to_a_public_repository_unless_that_was_meant(hub, export):
    hub.repos["me/zubo"] = Repo(private=False)
    assert "everyone can see it" in pushed(hub, export, "me/zubo")
    assert not hub.repos["me/zubo"].files and not hub.sent
    json.loads(pushed(hub, export, "me/zubo", private=False))
    assert hub.repos["me/zubo"].files


@pytest.mark.parametrize(
    ("repo", "token", "said"),
    [
        ("me/zubo", "", "run: hf auth login"),
        ("others/zubo", TOKEN, "your token may not write to others/zubo"),
        ("nobody/zubo", TOKEN, "check the name nobody"),
    ],
)
def test_a_refusal_comes_with_its_way_out(hub, export, repo, token, said):
    assert said in pushed(hub, export, repo, HF_TOKEN=token)
    assert not hub.sent


def test_a_hub_that_is_not_there_and_a_machine_that_stays_offline_are_told(hub, export):
    said = pushed(hub, export, "me/zubo", HF_ENDPOINT="http://127.0.0.1:9")
    assert "broke off" in said and "run it again" in said
    assert "unset HF_HUB_OFFLINE" in pushed(hub, export, "me/zubo", HF_HUB_OFFLINE="1")


def test_a_dry_run_says_what_would_go_and_asks_nobody(export):
    upload = push(export[0].parent, export, "me/zubo", dry_run=True)
    assert upload.url.endswith("/me/zubo") and len(upload.files) == len(export)
    assert "secret.txt" not in upload.files and f"{IMAGES}/00.png" in upload.files


@pytest.mark.parametrize("name", ["zubo", "me/zubo/more", "/zubo", "me/", "me/zubo bottle", ""])
def test_a_name_that_is_none_is_refused_before_anything_is_asked(export, name):
    with pytest.raises(RunError, match="not a name on the hub"):
        push(export[0].parent, export, name)


ASK = """
import sys
from flux_lora.errors import RunError
from flux_lora.share.publish import refuse_unpublishable
try:
    refuse_unpublishable(sys.argv[1])
except RunError as error:
    print(error)
"""


def asked(hub: StandIn, home: Path, token: str) -> str:
    """What is printed where an upload would be refused."""
    surroundings = {
        **os.environ,
        "HF_ENDPOINT": hub.address,
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": token,
        "HF_HOME": str(home),
    }
    words = [sys.executable, "-c", ASK, "me/zubo"]
    return subprocess.run(words, env=surroundings, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(("token", "said"), [("hf_another", "does not know who asks"), ("", "nobody is logged in")])
def test_an_upload_by_nobody_is_refused_before_there_is_a_file(hub: StandIn, tmp_path: Path, token: str, said: str):
    found = asked(hub, tmp_path, token)
    assert said in found and "hf auth login" in found


def test_so_is_one_that_everyone_would_see_and_asking_makes_nothing(hub: StandIn, tmp_path: Path):
    assert asked(hub, tmp_path, TOKEN) == ""
    assert not hub.repos
    hub.repos["me/zubo"] = Repo(private=True)
    assert asked(hub, tmp_path, TOKEN) == ""
    hub.repos["me/zubo"] = Repo(private=False)
    assert "everyone can see it" in asked(hub, tmp_path, TOKEN)
