"""Where files go, what dtype they have, and what is refused before the first of them is written."""

from hashlib import sha256
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.adapter.metadata import MOST_FACTS
from flux_lora.adapter.write_proven import (
    DTYPES,
    MOST_HANDED_ON,
    PROOF,
    check_room,
    check_writable,
    disk_explained,
    dtype_for,
    export_paths,
    inherited_facts,
    new_place,
    text_encoders_place,
    title_of,
    write_proven,
)
from flux_lora.config.choices import AdapterTargets, ExportDialect, FileDtype
from flux_lora.config.schema import ExportConfig
from flux_lora.errors import AdapterFileError, ConfigError, RunError
from tests.commands.example_runs import HANDED_ON, STALE, adapter, names_in, said_of

ALL = tuple(ExportDialect)
NOTHING = Adapter({})
KINDS = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn)


def test_diffusers_names_come_first_under_the_plain_name_and_folders_last():
    wanted = ExportConfig(dialects=(ExportDialect.peft, ExportDialect.kohya, ExportDialect.diffusers))
    assert list(export_paths(wanted, Path("out"), "mug").values()) == [
        Path("out/mug.safetensors"),
        Path("out/mug.kohya.safetensors"),
        Path("out/mug.peft"),
    ]


def test_every_dialect_has_a_place_of_its_own():
    found = export_paths(ExportConfig(dialects=ALL, dir="there", name="cup v1.5"), Path("out"), "mug")
    assert set(found) == set(ALL) and len(set(found.values())) == len(ALL)
    assert all(place.parent == Path("there") and place.name.startswith("cup v1.5.") for place in found.values())


def test_a_file_that_is_named_goes_before_folder_and_name():
    wanted = ExportConfig(dialects=(ExportDialect.kohya,), file="a/b.safetensors", dir="there", name="cup")
    assert export_paths(wanted, Path("out"), "mug") == {ExportDialect.kohya: Path("a/b.safetensors")}


@pytest.mark.parametrize("given", [ExportConfig(dir="~/loras"), ExportConfig(file="~/loras/mug.safetensors")])
def test_a_place_at_home_is_found_there(given: ExportConfig):
    assert export_paths(given, Path("out"), "mug")[ExportDialect.diffusers] == Path.home() / "loras" / "mug.safetensors"


@pytest.mark.parametrize(
    ("place", "title", "beside"),
    [
        ("a/mug v1.5.safetensors", "mug v1.5", "a/mug v1.5.text_encoders.safetensors"),
        ("a/mug-v1.5", "mug-v1.5", "a/mug-v1.5.text_encoders.safetensors"),
        ("mug.kohya.safetensors", "mug.kohya", "mug.kohya.text_encoders.safetensors"),
    ],
)
def test_a_dot_in_a_name_is_part_of_it(place: str, title: str, beside: str):
    assert title_of(Path(place)) == title
    assert text_encoders_place(Path(place)) == Path(beside)


def test_the_folder_one_stands_in_has_a_title_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "mug-v1.5").mkdir()
    monkeypatch.chdir(tmp_path / "mug-v1.5")
    assert title_of(Path()) == "mug-v1.5"


@pytest.mark.parametrize("dialect", ALL)
def test_a_place_that_is_taken_is_refused_whatever_lies_there(dialect: ExportDialect, tmp_path: Path):
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "file").write_text("mine")
    for name in ("folder.safetensors", "file"):
        with pytest.raises(ConfigError, match=f"{name} is there already"):
            new_place(str(tmp_path / name), dialect)


def of_dtype(dtype: torch.dtype) -> Adapter:
    return Adapter({"x": LoRA(torch.ones(1, 2, dtype=dtype), torch.ones(2, 1, dtype=dtype), 1.0)})


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4))
def test_the_same_dtype_holds_every_number_that_was_given(dtypes: list[torch.dtype]):
    found = dtype_for(FileDtype.same, *(of_dtype(dtype) for dtype in dtypes))
    assert found in DTYPES.values()
    assert found is torch.float32 or set(dtypes) == {found}


def test_a_dtype_that_is_asked_for_is_taken_and_of_nothing_the_widest():
    for wanted, dtype in DTYPES.items():
        assert dtype_for(wanted, of_dtype(torch.float32)) is dtype
    assert dtype_for(FileDtype.same, NOTHING, of_dtype(torch.bfloat16)) is torch.bfloat16
    assert dtype_for(FileDtype.same, NOTHING) is torch.float32


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.integers(0, MOST_FACTS).map("x".__mul__), max_size=6))
def test_what_is_handed_on_fits_and_only_the_longest_is_left_out(metadata: dict[str, str]):
    facts, left_out = inherited_facts(metadata)
    assert {"format": "pt", **metadata} == facts | {key: metadata[key] for key in left_out}
    assert sum(map(len, facts.values())) <= MOST_HANDED_ON
    kept = [len(metadata[key]) for key in facts if key in metadata]
    assert not left_out or min(len(metadata[key]) for key in left_out) >= max(kept, default=0) - 50


def test_nothing_is_handed_on_that_was_true_of_the_old_bytes_only():
    facts, left_out = inherited_facts(HANDED_ON | STALE)
    assert facts == {"format": "pt", **HANDED_ON} and not left_out


@pytest.mark.parametrize("dialect", ALL)
def test_the_proof_names_the_file_that_lies_there_and_its_hash(dialect: ExportDialect, tmp_path: Path):
    place = tmp_path / ("mug" if dialect is ExportDialect.peft else "mug.safetensors")
    proof = write_proven(adapter(), place, dialect=dialect, dtype=torch.bfloat16, metadata=HANDED_ON)
    file = place / "adapter_model.safetensors" if place.is_dir() else place
    assert (proof.sha256, proof.bytes) == (sha256(file.read_bytes()).hexdigest(), file.stat().st_size)
    assert proof.file == str(place) and str(tmp_path) not in str(said_of(file))
    assert (PROOF in said_of(file)) == (dialect is not ExportDialect.peft)


def test_one_dialect_without_room_stops_all_before_the_first_is_written(tmp_path: Path):
    more = adapter(targets=AdapterTargets.attention_mlp)
    wanted = {each: tmp_path / f"mug.{each}.safetensors" for each in (ExportDialect.diffusers, ExportDialect.xlabs)}
    with pytest.raises(AdapterFileError, match="xlabs"):
        check_writable(more, NOTHING, wanted, torch.bfloat16)
    check_room(more, (ExportDialect.diffusers, ExportDialect.kohya), torch.bfloat16)
    assert not names_in(tmp_path)


def test_an_adapter_that_learned_nothing_is_no_file(tmp_path: Path):
    idle = Adapter({name: LoRA(each.down, 0 * each.up, 1.0) for name, each in adapter().layers.items()})
    with pytest.raises(AdapterFileError, match="changes nothing"):
        write_proven(
            idle, tmp_path / "x.safetensors", dialect=ExportDialect.diffusers, dtype=torch.float32, metadata={}
        )
    assert not names_in(tmp_path)


def test_a_full_disk_is_said_in_words():
    said = "mug.safetensors cannot be written: No space left on device"
    with pytest.raises(RunError, match=said), disk_explained(Path("mug.safetensors")):
        raise OSError(28, "No space left on device")
