"""resize gives the nearest LoRA of another rank, and says how far it is."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from flux_lora.adapter.files import read_adapter, read_contents
from flux_lora.adapter.layer_types import Adapter, delta_of
from flux_lora.commands.resize import resize
from flux_lora.config.choices import ExportDialect, FileDtype
from flux_lora.config.file_verbs import ResizeArgs
from flux_lora.errors import AdapterFileError, ConfigError
from tests.adapter.deltas import change_for
from tests.adapter.example_adapters import frozen_transformer
from tests.adapter.other_trainers import DIALECTS
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


def asked(file: Path, out: str = "small.safetensors", **more: object) -> ResizeArgs:
    return ResizeArgs(file=str(file), out=str(file.parent / out), **more)  # type: ignore[arg-type]


def test_a_larger_rank_changes_nothing(tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter(rank=4))
    assert resize(asked(file, rank=6)) == 0
    assert read_adapter(tmp_path / "small.safetensors").ranks == (6,)
    assert apart(deltas(tmp_path / "small.safetensors"), deltas(file)) < 1e-5


@pytest.mark.parametrize("to", [ExportDialect.diffusers, ExportDialect.onetrainer, ExportDialect.peft])
def test_a_smaller_rank_is_the_nearest_there_is_and_its_error_is_said(
    to: ExportDialect, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = written(tmp_path / "mug.safetensors", adapter(rank=4))
    out = tmp_path / ("small" if to is ExportDialect.peft else "small.safetensors")
    resize(asked(file, out.name, rank=2, to=to))
    before, after = deltas(file), deltas(out)
    best = {name: torch.linalg.svdvals(change)[2:].norm() / change.norm() for name, change in before.items()}
    worst = max(best, key=lambda name: best[name].item())
    for name, change in before.items():
        assert (after[name] - change).norm() / change.norm() == pytest.approx(best[name].item(), rel=1e-3)
    assert f"lost: {best[worst].item():.1%} of {worst} at most" in capsys.readouterr().out


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.99, 1.0])
def test_the_share_that_was_asked_for_stays_in_every_layer(keep: float, tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter(rank=4))
    resize(asked(file, keep=keep))
    before, after = deltas(file), deltas(tmp_path / "small.safetensors")
    for name, change in before.items():
        assert (after[name] - change).norm() ** 2 <= (1 - keep) * change.norm() ** 2 + 1e-9
    ranks = read_adapter(tmp_path / "small.safetensors").ranks
    assert max(ranks) <= 4 and (keep > 0.9 or min(ranks) < 4)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "takes rank or keep"),
        ({"rank": 4, "keep": 0.9}, "takes rank or keep"),
        ({"rank": -2}, "rank is -2"),
        ({"rank": 100_000}, "rank is 100000"),
        ({"keep": 1.5}, "the energy to keep is 1.5"),
        ({"keep": -0.1}, "the energy to keep is -0.1"),
        ({"keep": 0.9, "base": "x"}, "base is for a DoRA"),
        ({"rank": 2, "out": "mug.safetensors"}, "is there already"),
    ],
)
def test_a_slip_is_refused_and_nothing_is_written(more: dict, said: str, tmp_path: Path):
    file = written(tmp_path / "mug.safetensors", adapter())
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=said):
        resize(asked(file, **more))
    assert names_in(tmp_path) == ["mug.safetensors"] and file.read_bytes() == before


def test_facts_of_the_old_rank_are_not_said_of_the_new_one(tmp_path: Path):
    told = HANDED_ON | STALE | {"flux_lora.alpha": "99"}
    resize(asked(written(tmp_path / "mug.safetensors", adapter(), metadata=told), rank=2))
    after = said_of(tmp_path / "small.safetensors")
    assert HANDED_ON.items() <= after.items() and "99" not in after.values()
    assert (after["ss_network_dim"], after["ss_network_alpha"]) == ("2", "2")
    assert after["sshs_model_hash"] == body_hash(tmp_path / "small.safetensors")


def test_text_encoders_stay_as_they_were_in_a_file_of_their_own(tmp_path: Path):
    file = with_text_encoders(tmp_path / "mug.safetensors", adapter())
    resize(asked(file, rank=2))
    beside = load_file(tmp_path / "small.text_encoders.safetensors")
    assert beside.keys() == TEXT.keys() and all(torch.equal(beside[key], TEXT[key]) for key in TEXT)
    assert not read_contents(tmp_path / "small.safetensors").text_encoders.deltas


def test_a_file_for_text_encoders_alone_is_refused_in_words(tmp_path: Path):
    save_file(TEXT, tmp_path / "mug.safetensors")
    with pytest.raises(AdapterFileError, match="nothing but text encoders"):
        resize(asked(tmp_path / "mug.safetensors", rank=2))
    assert names_in(tmp_path) == ["mug.safetensors"]


def test_a_text_encoder_file_in_the_way_stops_it_before_anything_is_written(tmp_path: Path):
    file = with_text_encoders(tmp_path / "mug.safetensors", adapter())
    (tmp_path / "small.text_encoders.safetensors").write_text("mine")
    with pytest.raises(ConfigError, match="small.text_encoders.safetensors is there already"):
        resize(asked(file, rank=2))
    assert not (tmp_path / "small.safetensors").exists()


@pytest.mark.parametrize("name", ["lycoris loha", "lycoris lokr", "ai-toolkit lokr"])
def test_other_kinds_become_plain_loras_that_every_program_reads(name: str, tmp_path: Path):
    save_file(DIALECTS[name], tmp_path / "x.safetensors")
    resize(asked(tmp_path / "x.safetensors", rank=8))
    assert apart(deltas(tmp_path / "small.safetensors"), deltas(tmp_path / "x.safetensors")) < 1e-4


@pytest.mark.parametrize("kind", ["DoRA", "OFT"])
def test_what_stands_on_the_base_s_weights_asks_for_them_and_becomes_a_lora_beside_them(kind: str, tmp_path: Path):
    frozen_transformer().save_pretrained(tmp_path / "base")
    name = "transformer_blocks.0.attn.to_q"
    change = change_for(kind, 32, 32)
    file = written(tmp_path / "x.safetensors", Adapter({name: change}), dialect="lycoris")
    with pytest.raises(AdapterFileError, match=f"{kind}|base"):
        resize(asked(file, rank=32))
    assert names_in(tmp_path / "base") and not (tmp_path / "small.safetensors").exists()
    resize(asked(file, rank=32, base=str(tmp_path / "base")))
    wanted = delta_of(change, dict(frozen_transformer().named_parameters())[f"{name}.weight"].detach())
    assert apart(deltas(tmp_path / "small.safetensors"), {name: wanted}) < 1e-4


def test_what_fp16_cannot_hold_is_refused_before_anything_is_written(tmp_path: Path):
    tensors = {key: each * (1e12 if "lora_B" in key else 1) for key, each in DIALECTS["diffusers"].items()}
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(AdapterFileError, match="more than float16 can"):
        resize(asked(tmp_path / "x.safetensors", rank=1, dtype=FileDtype.fp16))
    assert names_in(tmp_path) == ["x.safetensors"]
