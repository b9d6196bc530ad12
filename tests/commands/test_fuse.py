"""fuse writes a model with the LoRA inside, whichever layout and however many shards the base has."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file, save_file

from flux_lora.adapter.attach import load_into
from flux_lora.adapter.files import read_adapter
from flux_lora.adapter.layer_types import adapter_at_strength
from flux_lora.commands.fuse import fuse
from flux_lora.config.file_verbs import FuseArgs
from flux_lora.errors import AdapterFileError, ModelError
from tests.adapter.example_adapters import answer, frozen_transformer
from tests.adapter.native_base import PREFIX, as_native
from tests.commands.example_runs import adapter, names_in, said_of, with_text_encoders, written

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One base as a folder, as shards and as a single file in FLUX's own names, and LoRAs in two dialects."""
    folder = tmp_path_factory.mktemp("models")
    frozen_transformer().save_pretrained(folder / "base")
    frozen_transformer().save_pretrained(folder / "shards", max_shard_size="100KB")
    native = as_native(load_file(folder / "base" / WEIGHTS))
    save_file(native, folder / "flux1.safetensors", {"modelspec.title": "FLUX", "modelspec.hash_sha256": "0x0"})
    written(folder / "mug.safetensors", adapter(rank=3, alpha=6.0))
    written(folder / "mug_kohya.safetensors", adapter(rank=3, alpha=6.0), dialect="kohya")
    return folder


def asked(models: Path, base: str, out: Path, *, file: str = "mug.safetensors", strength: float = 1.0) -> FuseArgs:
    return FuseArgs(base=str(models / base), file=str(models / file), out=str(out), strength=strength)


@pytest.mark.parametrize("base", ["base", "shards"])
@pytest.mark.parametrize("file", ["mug.safetensors", "mug_kohya.safetensors"])
def test_a_fused_folder_answers_as_the_base_with_the_lora_beside_it(
    base: str, file: str, models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert fuse(asked(models, base, tmp_path / "out", file=file, strength=0.7)) == 0
    beside = frozen_transformer()
    load_into(beside, adapter_at_strength(read_adapter(models / file), 0.7))
    fused = FluxTransformer2DModel.from_pretrained(tmp_path / "out").eval()
    torch.testing.assert_close(answer(fused), answer(beside), rtol=1e-4, atol=1e-5)
    assert names_in(tmp_path / "out") == names_in(models / base)
    said = capsys.readouterr().out
    assert "11 weights changed" in said and "took 0.0% of the effect" in said


def test_a_single_file_in_flux_s_own_names_gives_the_same_numbers(models: Path, tmp_path: Path):
    fuse(asked(models, "base", tmp_path / "out"))
    fuse(asked(models, "flux1.safetensors", tmp_path / "out.safetensors"))
    expected = as_native(load_file(tmp_path / "out" / WEIGHTS))
    got = load_file(tmp_path / "out.safetensors")
    assert got.keys() == expected.keys() and all(key.startswith(PREFIX) for key in got)
    for key, tensor in expected.items():
        torch.testing.assert_close(got[key], tensor, rtol=0, atol=1e-6)


def test_the_file_says_what_is_inside_by_name_and_keeps_what_is_still_true(models: Path, tmp_path: Path):
    fuse(asked(models, "flux1.safetensors", tmp_path / "out.safetensors", strength=0.5))
    told = said_of(tmp_path / "out.safetensors")
    assert json.loads(told["flux_lora.fused"]) == {"file": "mug.safetensors", "strength": 0.5}
    assert told["modelspec.title"] == "FLUX" and "modelspec.hash_sha256" not in told
    assert str(models) not in json.dumps(told)


def test_fusing_and_then_fusing_its_negative_gives_the_base_again(models: Path, tmp_path: Path):
    fuse(asked(models, "base", tmp_path / "out"))
    back = FuseArgs(
        base=str(tmp_path / "out"), file=str(models / "mug.safetensors"), strength=-1.0, out=str(tmp_path / "back")
    )
    fuse(back)
    before, after = load_file(models / "base" / WEIGHTS), load_file(tmp_path / "back" / WEIGHTS)
    for key, tensor in before.items():
        torch.testing.assert_close(after[key], tensor, rtol=0, atol=1e-6)


def test_what_bf16_rounds_away_is_said(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    half = {key: tensor.bfloat16() for key, tensor in load_file(models / "flux1.safetensors").items()}
    save_file(half, tmp_path / "half.safetensors")
    quiet = asked(models, str(tmp_path / "half.safetensors"), tmp_path / "out.safetensors", strength=1e-3)
    fuse(quiet)
    lost = float(capsys.readouterr().out.split("numbers took ")[1].split("%")[0])
    assert lost > 1
    assert {tensor.dtype for tensor in load_file(tmp_path / "out.safetensors").values()} == {torch.bfloat16}


def test_the_base_and_the_lora_stay_as_they_were(models: Path, tmp_path: Path):
    before = {file: sha256(file.read_bytes()).digest() for file in models.rglob("*") if file.is_file()}
    fuse(asked(models, "shards", tmp_path / "out"))
    assert {file: sha256(file.read_bytes()).digest() for file in models.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize(
    ("base", "file", "said"),
    [
        ("gone", "mug.safetensors", "gone"),
        ("mug.safetensors", "mug.safetensors", "mug.safetensors"),
        ("base", "gone.safetensors", "gone.safetensors"),
        ("base", "flux1.safetensors", "keys"),
    ],
)
def test_what_is_no_base_or_no_lora_is_refused_and_nothing_is_left(
    base: str, file: str, said: str, models: Path, tmp_path: Path
):
    with pytest.raises((AdapterFileError, ModelError), match=said):
        fuse(asked(models, base, tmp_path / "out", file=file))
    assert not names_in(tmp_path)


def test_nothing_is_written_over(models: Path, tmp_path: Path):
    (tmp_path / "out.safetensors").write_text("mine")
    with pytest.raises(AdapterFileError, match="is there already"):
        fuse(asked(models, "flux1.safetensors", tmp_path / "out.safetensors"))
    assert (tmp_path / "out.safetensors").read_text() == "mine"


def test_a_lora_that_changes_text_encoders_too_is_refused_with_the_way_out(models: Path, tmp_path: Path):
    file = with_text_encoders(tmp_path / "text.safetensors", adapter())
    with pytest.raises(AdapterFileError, match="text encoders too(?s:.)*flux-lora convert"):
        fuse(asked(models, "base", tmp_path / "out", file=str(file)))
    assert names_in(tmp_path) == ["text.safetensors"]
