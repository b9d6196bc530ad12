"""extract takes out of two models what fuse put between them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flux_lora.adapter.files import read_adapter
from flux_lora.commands.extract import extract
from flux_lora.commands.fuse import fuse
from flux_lora.config.choices import ExportDialect, FileDtype
from flux_lora.config.file_verbs import ExtractArgs, FuseArgs
from flux_lora.errors import AdapterFileError, ConfigError, ModelError
from tests.adapter.example_adapters import frozen_transformer
from tests.adapter.native_base import as_native
from tests.commands.example_runs import adapter, apart, body_hash, deltas, names_in, said_of, written

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA of rank 3, a base in both layouts, and each with the LoRA inside."""
    folder = tmp_path_factory.mktemp("models")
    frozen_transformer().save_pretrained(folder / "base")
    save_file(as_native(load_file(folder / "base" / WEIGHTS)), folder / "base.safetensors")
    file = written(folder / "mug.safetensors", adapter(rank=3, alpha=6.0))
    for ending in ("", ".safetensors"):
        fuse(FuseArgs(base=str(folder / f"base{ending}"), file=str(file), out=str(folder / f"tuned{ending}")))
    return folder


def asked(models: Path, out: Path, *, before: str = "base", after: str = "tuned", **more: object) -> ExtractArgs:
    return ExtractArgs(before=str(models / before), after=str(models / after), out=str(out), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("before", "after"), [("base", "tuned"), ("base.safetensors", "tuned.safetensors")])
@pytest.mark.parametrize("to", [ExportDialect.diffusers, ExportDialect.kohya])
def test_what_fuse_put_in_extract_takes_out(
    to: ExportDialect, before: str, after: str, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "found.safetensors"
    assert extract(asked(models, out, before=before, after=after, rank=3, to=to, dtype=FileDtype.fp32)) == 0
    assert apart(deltas(out), deltas(models / "mug.safetensors")) < 1e-4
    said = capsys.readouterr().out
    assert "11 of 30 layers differ; rank 3" in said and "lost: 0.0%" in said


def test_the_two_layouts_may_be_mixed(models: Path, tmp_path: Path):
    out = tmp_path / "found.safetensors"
    extract(asked(models, out, after="tuned.safetensors", rank=3, dtype=FileDtype.fp32))
    assert apart(deltas(out), deltas(models / "mug.safetensors")) < 1e-4


def test_too_low_a_rank_is_written_with_its_error_said(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "found.safetensors"
    extract(asked(models, out, rank=1))
    error = apart(deltas(out), deltas(models / "mug.safetensors"))
    assert read_adapter(out).ranks == (1,) and error > 0.1
    assert "lost: 0.0%" not in capsys.readouterr().out


def test_bf16_is_written_unless_more_is_asked_for(models: Path, tmp_path: Path):
    for dtype, kind in ((FileDtype.bf16, torch.bfloat16), (FileDtype.same, torch.float32)):
        out = tmp_path / f"{dtype}.safetensors"
        extract(asked(models, out, rank=3, dtype=dtype))
        assert {tensor.dtype for tensor in load_file(out).values()} == {kind}
    extract(asked(models, tmp_path / "default.safetensors", rank=3))
    assert (tmp_path / "default.safetensors").stat().st_size == (tmp_path / "bf16.safetensors").stat().st_size


def test_the_file_says_what_it_was_made_of_and_no_place_on_this_machine(models: Path, tmp_path: Path):
    extract(asked(models, tmp_path / "found.safetensors", rank=3))
    told = said_of(tmp_path / "found.safetensors")
    assert told["modelspec.merged_from"] == "tuned - base" and told["modelspec.title"] == "found"
    assert told["sshs_model_hash"] == body_hash(tmp_path / "found.safetensors")
    assert not any(str(models.parent) in value or str(tmp_path) in value for value in told.values())


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"after": "base"}, AdapterFileError, "have the same weights"),
        ({"rank": 0}, ConfigError, "rank is 0"),
        ({"rank": 100_000}, ConfigError, "rank is 100000"),
        ({"after": "gone.safetensors"}, (AdapterFileError, ModelError), "gone.safetensors"),
        ({"after": "mug.safetensors"}, (AdapterFileError, ModelError), "mug.safetensors"),
    ],
)
def test_what_gives_no_lora_is_refused_and_nothing_is_written(
    more: dict, error: type[Exception], said: str, models: Path, tmp_path: Path
):
    with pytest.raises(error, match=said):
        extract(asked(models, tmp_path / "found.safetensors", **more))
    assert not names_in(tmp_path)


def test_models_of_other_sizes_are_named_by_layer(models: Path, tmp_path: Path):
    name = "single_transformer_blocks.0.proj_mlp.weight"
    tensors = load_file(models / "tuned" / WEIGHTS)
    save_file(tensors | {name: tensors[name][:64].clone()}, tmp_path / "other.safetensors")
    with pytest.raises(AdapterFileError, match="single_transformer_blocks.0.proj_mlp"):
        extract(asked(models, tmp_path / "found.safetensors", after=str(tmp_path / "other.safetensors")))
    assert names_in(tmp_path) == ["other.safetensors"]


def test_nothing_is_written_over(models: Path, tmp_path: Path):
    (tmp_path / "found.safetensors").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        extract(asked(models, tmp_path / "found.safetensors"))
    assert (tmp_path / "found.safetensors").read_text() == "mine"


def with_biases(models: Path, place: Path, after: str, by: float) -> Path:
    """A model whose biases are moved."""
    place.mkdir()
    (place / "config.json").write_bytes((models / after / "config.json").read_bytes())
    tensors = load_file(models / after / WEIGHTS)
    moved = {name: each + by if name.endswith(".bias") else each for name, each in tensors.items()}
    save_file(moved, place / WEIGHTS)
    return place


def test_biases_that_changed_too_are_named_and_counted(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tuned = with_biases(models, tmp_path / "tuned", "tuned", by=1.0)
    extract(ExtractArgs(before=str(models / "base"), after=str(tuned), out=str(tmp_path / "a.safetensors"), rank=3))
    before, after = (load_file(folder / WEIGHTS) for folder in (models / "base", tuned))
    squares = {name: float((after[name] - before[name]).square().sum()) for name in before}
    biases = sum(square for name, square in squares.items() if name.endswith(".bias"))
    said = capsys.readouterr().out
    assert "left undone: " in said
    assert f"{(biases / sum(squares.values())) ** 0.5:.1%} of the whole difference" in said


def test_models_that_differ_in_biases_alone_are_refused_as_that(models: Path, tmp_path: Path):
    tuned = with_biases(models, tmp_path / "tuned", "base", by=0.1)
    with pytest.raises(AdapterFileError, match=r"differ in \d+ tensors that a LoRA cannot hold \(biases, norms\)"):
        extract(ExtractArgs(before=str(models / "base"), after=str(tuned), out=str(tmp_path / "a.safetensors")))
