"""export adapter=… serves what any trainer left: several dialects at once, each proven, no place of this machine."""

import json
from hashlib import sha256
from pathlib import Path
from zipfile import ZipFile

import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from flux_lora.__main__ import answer
from flux_lora.adapter.files import read_contents
from flux_lora.commands.export_adapter import export_adapter
from flux_lora.config.choices import AdapterTargets, ExportDialect, ExportDtype
from flux_lora.config.file_verbs import ExportAdapterArgs
from flux_lora.config.schema import ExportConfig
from flux_lora.errors import AdapterFileError, ConfigError, ModelError
from tests.adapter.example_adapters import frozen_transformer
from tests.commands.example_runs import (
    HANDED_ON,
    STALE,
    TEXT,
    adapter,
    apart,
    body_hash,
    deltas,
    names_in,
    said_of,
    with_text_encoders,
    written,
)

SEVERAL = (ExportDialect.diffusers, ExportDialect.comfyui, ExportDialect.kohya)


def asked(source: Path, base: str = "", **export: object) -> ExportAdapterArgs:
    return ExportAdapterArgs(adapter=str(source), base=base, export=ExportConfig(**export))  # type: ignore[arg-type]


@pytest.fixture
def mug(tmp_path: Path) -> Path:
    """A file in another tool's names."""
    return written(tmp_path / "in" / "mug v1.5.safetensors", adapter(), dialect="onetrainer", metadata=HANDED_ON)


def test_a_folder_that_peft_saved_becomes_a_file_in_each_dialect(tmp_path: Path):
    model = frozen_transformer()
    model.add_adapter(LoraConfig(r=3, lora_alpha=6, target_modules=["to_q", "to_out.0"], init_lora_weights=False))
    parts = {
        name.replace(".default", ""): each.detach() for name, each in model.state_dict().items() if ".lora_" in name
    }
    folder = tmp_path / "out.v2" / "checkpoint-1.5"
    folder.mkdir(parents=True)
    save_file(
        {f"base_model.model.{name}": each.contiguous() for name, each in parts.items()},
        folder / "adapter_model.safetensors",
    )
    config = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "target_modules": ["to_q", "to_out.0"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    assert export_adapter(asked(folder, dialects=SEVERAL, dir=str(tmp_path / "new"), dtype=ExportDtype.fp32)) == 0
    names = [
        f"checkpoint-1.5{end}" for end in (".comfyui.safetensors", ".export.json", ".kohya.safetensors", ".safetensors")
    ]
    assert names_in(tmp_path / "new") == names
    wanted = {name: 2.0 * parts[f"{name}.lora_B.weight"] @ parts[f"{name}.lora_A.weight"] for name in deltas(folder)}
    assert wanted
    for name in names[0], names[2], names[3]:
        assert apart(deltas(tmp_path / "new" / name), wanted) < 1e-5


def test_all_dialects_at_once_add_the_same_to_every_weight(mug: Path, tmp_path: Path):
    export_adapter(asked(mug, dialects=tuple(ExportDialect), dir=str(tmp_path / "new"), dtype=ExportDtype.fp32))
    for dialect in ExportDialect:
        end = "" if dialect is ExportDialect.diffusers else f".{dialect}"
        end += "" if dialect is ExportDialect.peft else ".safetensors"
        assert apart(deltas(tmp_path / "new" / f"mug v1.5{end}"), deltas(mug)) < 1e-5


def test_what_was_seen_stands_in_the_record_and_in_each_file_without_a_place(mug: Path, tmp_path: Path):
    export_adapter(asked(mug, dialects=SEVERAL, dir=str(tmp_path / "new"), author="Jane"))
    told = (tmp_path / "new" / "mug v1.5.export.json").read_text()
    assert str(tmp_path) not in told
    record = json.loads(told)
    assert record["adapter"] == "mug v1.5.safetensors" and len(record["files"]) == 3
    for each in record["files"]:
        file = tmp_path / "new" / each["file"]
        assert (each["sha256"], each["bytes"]) == (sha256(file.read_bytes()).hexdigest(), file.stat().st_size)
        said = said_of(file)
        assert json.loads(said["flux_lora.proof"]) == each["readers"]
        assert said["modelspec.author"] == "Jane" and HANDED_ON.items() <= said.items()
        assert said["sshs_model_hash"] == body_hash(file) and str(tmp_path) not in json.dumps(said)


def test_nothing_of_the_old_bytes_is_said_of_the_new_ones(tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter(), metadata=HANDED_ON | STALE)
    export_adapter(asked(file, dialects=(ExportDialect.kohya, ExportDialect.peft)))
    for made in ("mug.kohya.safetensors", "mug.peft/adapter_model.safetensors"):
        assert not STALE.items() & said_of(tmp_path / made).items()


def test_with_the_base_at_hand_diffusers_loads_the_file_and_answers(
    mug: Path, tiny_flux: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    export_adapter(asked(mug, base=str(tiny_flux), dir=str(tmp_path / "new"), dtype=ExportDtype.fp32))
    (proof,) = json.loads((tmp_path / "new" / "mug v1.5.export.json").read_text())["files"]
    assert proof["readers"][0]["how"] == "loaded" and proof["output_error"] < 1e-3
    assert "the base's answer with the file is" in capsys.readouterr().out


@pytest.mark.parametrize("base", ["gone", "folder"])
def test_a_base_that_is_none_is_refused_before_anything_is_written(base: str, mug: Path, tmp_path: Path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelError):
        export_adapter(asked(mug, base=str(tmp_path / base), dir=str(tmp_path / "new")))
    assert not (tmp_path / "new").exists()


def test_one_file_goes_where_it_was_told_to_go(mug: Path, tmp_path: Path):
    out = tmp_path / "new" / "cup.safetensors"
    export_adapter(asked(mug, dialects=(ExportDialect.kohya,), file=str(out)))
    assert names_in(tmp_path / "new") == ["cup.export.json", "cup.safetensors"]
    assert read_contents(out).dialect == "kohya"


def test_without_a_place_the_files_lie_beside_what_was_given(mug: Path):
    export_adapter(asked(mug, dialects=(ExportDialect.kohya, ExportDialect.bfl), name="cup"))
    made = ["cup.bfl.safetensors", "cup.kohya.export.json", "cup.kohya.safetensors", "mug v1.5.safetensors"]
    assert names_in(mug.parent) == made


def test_the_folder_one_stands_in_can_be_given(mug: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written(tmp_path / "peft.v1", adapter(), dialect="peft")
    monkeypatch.chdir(tmp_path / "peft.v1")
    assert answer(["export", "adapter=.", "export.dialects=[kohya]"]) == 0
    assert apart(deltas(tmp_path / "peft.v1.kohya.safetensors"), deltas(mug)) < 1e-2


def test_text_encoders_go_into_a_file_of_their_own(tmp_path: Path):
    file = with_text_encoders(tmp_path / "mug.safetensors", adapter())
    export_adapter(asked(file, dialects=SEVERAL, dir=str(tmp_path / "new"), dtype=ExportDtype.fp32, bundle=True))
    beside = load_file(tmp_path / "new" / "mug.text_encoders.safetensors")
    assert beside.keys() == TEXT.keys() and all(torch.equal(beside[key], TEXT[key]) for key in TEXT)
    assert "mug/mug.text_encoders.safetensors" in ZipFile(tmp_path / "new" / "mug.zip").namelist()


def test_a_file_for_text_encoders_alone_is_refused_in_words(tmp_path: Path):
    save_file(TEXT, tmp_path / "mug.safetensors")
    with pytest.raises(AdapterFileError, match="nothing but text encoders(?s:.)*flux-lora convert"):
        export_adapter(asked(tmp_path / "mug.safetensors", dir=str(tmp_path / "new")))
    assert names_in(tmp_path) == ["mug.safetensors"]


@pytest.mark.parametrize(
    "taken",
    [
        "mug.safetensors",
        "mug.kohya.safetensors",
        "mug.peft",
        "mug.export.json",
        "mug.text_encoders.safetensors",
        "mug.zip",
    ],
)
def test_nothing_is_written_over_and_nothing_is_begun(taken: str, tmp_path: Path):
    file = with_text_encoders(tmp_path / "mug.safetensors", adapter())
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / taken).write_text("mine")
    dialects = (ExportDialect.peft, ExportDialect.kohya, ExportDialect.diffusers)
    with pytest.raises(ConfigError, match=f"{taken} is there already"):
        export_adapter(asked(file, dialects=dialects, dir=str(tmp_path / "new"), bundle=True))
    assert names_in(tmp_path / "new") == [taken] and (tmp_path / "new" / taken).read_text() == "mine"


def test_one_dialect_without_room_stops_all(tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter(targets=AdapterTargets.attention_mlp))
    with pytest.raises(AdapterFileError, match="xlabs"):
        export_adapter(asked(file, dialects=(*SEVERAL, ExportDialect.xlabs), dir=str(tmp_path / "new")))
    assert names_in(tmp_path) == ["mug.safetensors"]


def test_what_fp16_cannot_hold_stops_all(tmp_path: Path):
    loud = {
        name: each * 1e7 if "lora_B" in name else each
        for name, each in load_file(written(tmp_path / "a", adapter())).items()
    }
    save_file(loud, tmp_path / "mug.safetensors")
    with pytest.raises(AdapterFileError, match="more than float16 can"):
        export_adapter(
            asked(tmp_path / "mug.safetensors", dialects=SEVERAL, dir=str(tmp_path / "new"), dtype=ExportDtype.fp16)
        )
    assert names_in(tmp_path) == ["a", "mug.safetensors"]


def test_every_broken_rule_is_said_at_once(mug: Path):
    with pytest.raises(ConfigError) as caught:
        export_adapter(asked(mug, dialects=(), public=True))
    assert "nothing would be exported" in caught.value.problem and "export.public" in caught.value.problem
