"""merge adds changes and not factors, each at its strength, and says what it was made of."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from flux_lora.adapter.files import read_adapter
from flux_lora.commands.merge import merge
from flux_lora.config.choices import AdapterTargets, ExportDialect, FileDtype
from flux_lora.config.file_verbs import MergeArgs
from flux_lora.errors import AdapterFileError, ConfigError
from tests.adapter.other_trainers import DIALECTS
from tests.commands.example_runs import (
    STALE,
    adapter,
    apart,
    body_hash,
    deltas,
    names_in,
    said_of,
    with_text_encoders,
    written,
)

ABOUT_MUG = {
    "modelspec.title": "mug",
    "modelspec.trigger_phrase": "zorb mug",
    "modelspec.architecture": "flux-1-dev/lora",
    "modelspec.license": "mine",
    "flux_lora.recipe": "{}",
}
ABOUT_CAT = {
    "modelspec.title": "cat",
    "modelspec.trigger_phrase": "zubo cat",
    "modelspec.architecture": "flux-1-dev/lora",
    "modelspec.license": "mine",
    "flux_lora.non_commercial": "true",
}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two LoRAs of different ranks, alphas, layers and dialects."""
    mug = written(tmp_path / "mug.safetensors", adapter(rank=4, alpha=2.0), metadata=ABOUT_MUG | STALE)
    more = adapter(rank=3, alpha=3.0, targets=AdapterTargets.attention_mlp, seed=2)
    return mug, written(tmp_path / "cat.safetensors", more, dialect="kohya", metadata=ABOUT_CAT)


def asked(files: tuple[Path, ...], out: str = "both.safetensors", **more: object) -> MergeArgs:
    return MergeArgs(files=tuple(map(str, files)), out=str(files[0].parent / out), **more)  # type: ignore[arg-type]


def added(files: tuple[Path, Path], strengths: tuple[float, float]) -> dict[str, Tensor]:
    """The sum of what the files do."""
    whole: dict[str, Tensor] = {}
    for file, strength in zip(files, strengths, strict=True):
        for name, change in deltas(file).items():
            whole[name] = whole.get(name, torch.zeros_like(change)) + strength * change
    return whole


@pytest.mark.parametrize("strengths", [(1.0, 1.0), (0.8, 0.5), (1.5, -0.3)])
@pytest.mark.parametrize("to", [ExportDialect.diffusers, ExportDialect.kohya, ExportDialect.lycoris])
def test_the_merged_file_does_what_the_files_do_together(
    to: ExportDialect, strengths: tuple[float, float], files: tuple[Path, Path]
):
    ask = asked(files, strengths=strengths, to=to)
    assert merge(ask) == 0
    assert apart(deltas(Path(ask.out)), added(files, strengths)) < 1e-5


def test_without_strengths_each_counts_whole(files: tuple[Path, Path]):
    ask = asked(files)
    merge(ask)
    assert apart(deltas(Path(ask.out)), added(files, (1.0, 1.0))) < 1e-5


def test_ranks_add_up_where_both_change_a_layer(files: tuple[Path, Path]):
    ask = asked(files)
    merge(ask)
    ranks = {name: layer.rank for name, layer in read_adapter(Path(ask.out)).layers.items()}
    assert ranks["transformer_blocks.0.attn.to_q"] == 7 and ranks["transformer_blocks.0.ff.net.2"] == 3


def test_cut_to_a_rank_the_error_is_said_and_true(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]):
    ask = asked(files, rank=4)
    merge(ask)
    out, wanted = deltas(Path(ask.out)), added(files, (1.0, 1.0))
    worst = max(wanted, key=lambda name: ((out[name] - wanted[name]).norm() / wanted[name].norm()).item())
    share = apart(out, wanted)
    assert read_adapter(Path(ask.out)).ranks == (4,) and share > 0.01
    assert f"lost: {share:.1%} of {worst} at most" in capsys.readouterr().out


def test_three_files_merge_as_two_and_one(files: tuple[Path, Path]):
    third = written(files[0].with_name("hat.safetensors"), adapter(rank=2, seed=3))
    merge(asked(files, "both.safetensors", strengths=(0.5, 1.0)))
    merge(asked((files[0].with_name("both.safetensors"), third), "steps.safetensors", strengths=(1.0, 2.0)))
    merge(asked((*files, third), "once.safetensors", strengths=(0.5, 1.0, 2.0)))
    steps, once = (files[0].with_name(f"{name}.safetensors") for name in ("steps", "once"))
    assert apart(deltas(steps), deltas(once)) < 1e-5


def test_triggers_are_joined_and_what_only_one_said_is_not_said_of_both(files: tuple[Path, Path]):
    ask = asked(files)
    merge(ask)
    told = said_of(Path(ask.out))
    assert told["modelspec.trigger_phrase"] == "zorb mug, zubo cat"
    assert told["modelspec.merged_from"] == "mug, cat" and told["modelspec.title"] == "both"
    assert told["modelspec.architecture"] == "flux-1-dev/lora" and told["modelspec.license"] == "mine"
    assert told["flux_lora.non_commercial"] == "true" and "flux_lora.recipe" not in told
    assert not STALE.items() & told.items()
    assert told["sshs_model_hash"] == body_hash(Path(ask.out)) and told["ss_network_dim"] == "Dynamic"
    assert str(files[0].parent) not in json.dumps(told)


def test_files_that_have_no_title_are_called_by_their_names(tmp_path: Path):
    one = written(tmp_path / "mug-v1.5", adapter(), dialect="peft")
    two = written(tmp_path / "cat v2.0.safetensors", adapter(seed=2))
    merge(asked((one, two)))
    assert said_of(tmp_path / "both.safetensors")["modelspec.merged_from"] == "mug-v1.5, cat v2.0"


def test_the_finest_dtype_stays_and_fp16_that_cannot_hold_the_sum_is_refused(tmp_path: Path):
    one = written(tmp_path / "a.safetensors", adapter(), dtype=torch.float16)
    two = written(tmp_path / "b.safetensors", adapter(seed=2), dtype=torch.bfloat16)
    merge(asked((one, two)))
    tensors = load_file(tmp_path / "both.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    with pytest.raises(AdapterFileError, match="more than float16 can"):
        merge(asked((one, two), "loud.safetensors", strengths=(1e6, 1.0), dtype=FileDtype.fp16))
    assert not (tmp_path / "loud.safetensors").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"strengths": (1.0,)}, "2 files and 1 strengths"),
        ({"rank": -1}, "rank is -1"),
        ({"rank": 100_000}, "rank is 100000"),
        ({"out": "mug.safetensors"}, "is there already"),
    ],
)
def test_what_does_not_fit_together_is_refused_and_nothing_is_written(more: dict, said: str, files: tuple[Path, Path]):
    before = {file: file.read_bytes() for file in files}
    with pytest.raises(ConfigError, match=said):
        merge(asked(files, **more))
    assert {file: file.read_bytes() for file in files} == before
    assert names_in(files[0].parent) == ["cat.safetensors", "mug.safetensors"]


def test_one_file_is_nothing_to_merge(files: tuple[Path, Path]):
    with pytest.raises(ConfigError, match=r"files names 1 file\(s\)"):
        merge(asked(files[:1]))


def test_two_files_that_cancel_out_are_refused_before_anything_is_written(files: tuple[Path, Path]):
    with pytest.raises(AdapterFileError, match="changes nothing"):
        merge(asked((files[0], files[0]), strengths=(0.0, 0.0)))
    assert names_in(files[0].parent) == ["cat.safetensors", "mug.safetensors"]


def test_a_file_that_changes_text_encoders_too_is_named_with_the_way_out(files: tuple[Path, Path]):
    text = with_text_encoders(files[0].with_name("text.safetensors"), adapter())
    with pytest.raises(AdapterFileError, match=r"text.safetensors changes text encoders too(?s:.)*flux-lora convert"):
        merge(asked((files[0], text)))
    assert not files[0].with_name("both.safetensors").exists()


def test_kinds_without_an_exact_sum_are_refused_by_layer(tmp_path: Path):
    save_file(DIALECTS["diffusers"], tmp_path / "a.safetensors")
    save_file(DIALECTS["lycoris lokr"], tmp_path / "b.safetensors")
    with pytest.raises(AdapterFileError, match="LoKr"):
        merge(asked((tmp_path / "a.safetensors", tmp_path / "b.safetensors"), to=ExportDialect.lycoris))
    assert names_in(tmp_path) == ["a.safetensors", "b.safetensors"]


def test_a_file_of_eight_bits_merges_with_one_of_sixteen(tmp_path: Path):
    one = written(tmp_path / "a.safetensors", adapter(), dtype=torch.bfloat16)
    tensors = load_file(written(tmp_path / "x", adapter(seed=2)))
    save_file({key: tensor.to(torch.float8_e4m3fn) for key, tensor in tensors.items()}, tmp_path / "b.safetensors")
    merge(asked((one, tmp_path / "b.safetensors")))
    assert apart(deltas(tmp_path / "both.safetensors"), added((one, tmp_path / "b.safetensors"), (1.0, 1.0))) < 1e-5
