"""The cache, looked after from the command line."""

import json
from pathlib import Path

import pytest

from flux_lora.commands.cache import cache
from flux_lora.data.cache import EntryNames
from flux_lora.errors import ConfigError, RunError
from tests.data.colours import MeanColours, entries, grow_old, made_by, three_photos


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "runs" / "cache"
    keys = made_by(MeanColours(), three_photos(tmp_path / "photos"), folder).encoded.keys
    for file in folder.iterdir():
        grow_old(file)
    name_all(tmp_path / "runs" / "mug", keys)
    return folder


def name_all(run: Path, keys: tuple[EntryNames, ...]) -> None:
    file = run / "dataset" / "manifest.jsonl"
    file.parent.mkdir(parents=True)
    lines = [{"fingerprint": "f"}, *({"latent": each.latent, "texts": each.texts + each.plains} for each in keys)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_status_says_what_there_is_and_who_shares_it(folder, capsys):
    assert cache("status", folder) == 0
    said = capsys.readouterr().out.split()
    assert said[said.index("latents") + 1] == "3"
    assert said[-1] == "mug"


def test_verify_names_the_damaged_file_and_the_way_out(folder, capsys):
    assert cache("verify", folder) == 0
    assert "6 entries read, 0 damaged" in capsys.readouterr().out
    damaged = next(folder.glob("text-*"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert cache("verify", folder) == 2
    said = capsys.readouterr().out
    assert str(damaged) in said and "fix:" in said


def test_prune_leaves_what_runs_name_and_takes_the_rest(folder, capsys):
    before = entries(folder)
    (folder / "text-old.safetensors").write_bytes(b"of a run that is gone")
    grow_old(folder / "text-old.safetensors")
    assert cache("prune", folder) == 0
    assert entries(folder) == before
    assert "1 file(s) taken away" in capsys.readouterr().out


def test_prune_takes_nothing_while_a_run_does_not_say_what_it_needs(folder):
    name_all(folder.parent / "older", ())
    before = entries(folder)
    with pytest.raises(RunError, match="older"):
        cache("prune", folder)
    assert entries(folder) == before


def test_a_verb_that_does_not_exist_is_answered_with_the_nearest(folder):
    with pytest.raises(ConfigError) as error:
        cache("statu", folder)
    assert error.value.fix == "did you mean 'status'?"
