"""What the cache holds, what is damaged, and what nobody needs."""

import json
from pathlib import Path

import pytest

from flux_lora.data.cache import EncodeOptions, EncodeResult, EntryNames
from flux_lora.data.cache.maintenance import damages, holdings, named_in, prune
from flux_lora.errors import RunError
from tests.data.colours import MeanColours, entries, grow_old, made_by, three_photos


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "runs" / "cache"


@pytest.fixture
def made(tmp_path, folder) -> EncodeResult:
    made = made_by(MeanColours(), three_photos(tmp_path / "photos"), folder, EncodeOptions(words=("",)))
    for file in folder.iterdir():
        grow_old(file)
    return made


def manifest(run: Path, keys: tuple[EntryNames, ...], words: tuple[str, ...] = ()) -> Path:
    file = run / "dataset" / "manifest.jsonl"
    file.parent.mkdir(parents=True)
    lines = [{"fingerprint": "f", "texts": words}]
    lines += [{"latent": each.latent, "mask": each.mask, "texts": each.texts, "plains": each.plains} for each in keys]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def nobody(_done: int, _total: int, _name: str) -> None:
    """Hears nothing."""


def test_status_counts_files_and_bytes_by_kind(made, folder):
    (folder / "notes.md").write_text("mine")
    counted = {each.kind: each.files for each in holdings(folder)}
    assert counted == {"latents": 3, "texts": 4, "masks": 0, "base answers": 0, "half written": 0, "index": 1}
    bytes_there = sum(file.stat().st_size for file in folder.iterdir() if file.name != "notes.md")
    assert sum(each.bytes for each in holdings(folder)) == bytes_there


def test_a_sound_cache_has_no_damage_and_a_flipped_bit_is_found(made, folder):
    assert list(damages(folder, nobody)) == []
    file = next(folder.glob("latent-*"))
    content = bytearray(file.read_bytes())
    content[-1] ^= 255
    file.write_bytes(content)
    assert [each.file for each in damages(folder, nobody)] == [file]


def test_pruning_takes_what_no_run_names_and_nothing_else(made, folder):
    (folder / "notes.md").write_text("mine")
    keys = made.encoded.keys
    needed = named_in(manifest(folder.parent / "mug", keys[:2], made.words))
    before = entries(folder)
    done = prune(folder, needed)
    gone = {keys[2].latent, keys[2].texts[0]}
    assert {name.removesuffix(".safetensors") for name in before.keys() - entries(folder).keys()} == gone
    assert {f"{name}.safetensors" for each in keys[:2] for name in (each.latent, *each.texts)} <= entries(folder).keys()
    assert done.files == 2 and done.young == 0
    assert f"{made.words[0]}.safetensors" in entries(folder), "the empty caption is named too"
    assert (folder / "notes.md").is_file()


def test_what_was_pruned_is_made_again_and_nothing_else_is(made, folder, tmp_path):
    prune(folder, named_in(manifest(folder.parent / "mug", made.encoded.keys[:2])))
    colours = MeanColours()
    made_by(colours, tmp_path / "photos", folder)
    assert colours.asked == ["captions opened", "a TOK mug 2", "images opened", "an image"]


def test_half_written_files_go_and_young_ones_stay(folder):
    folder.mkdir(parents=True)
    for name in ("text-1.5-ab.partial", "pictures.jsonl.partial", "latent-2.safetensors", "text-3.safetensors"):
        (folder / name).write_bytes(b"half")
        if name != "text-3.safetensors":
            grow_old(folder / name)
    done = prune(folder, frozenset())
    assert [file.name for file in folder.iterdir()] == ["text-3.safetensors"]
    assert (done.files, done.bytes, done.young) == (3, 12, 1)


def test_a_manifest_of_an_older_version_stops_the_pruning(folder, tmp_path):
    file = tmp_path / "manifest.jsonl"
    file.write_text('{"fingerprint": "f"}\n{"image": "a.png"}\n')
    with pytest.raises(RunError, match="does not say which entries"):
        named_in(file)
    file.write_text('{"fingerpr')
    with pytest.raises(RunError, match="cannot be read"):
        named_in(file)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RunError, match="nowhere is not a folder"):
        holdings(tmp_path / "nowhere")
