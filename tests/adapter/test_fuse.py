"""A fused model answers as the base with the adapter beside it, in every layout, and the base stays as it was."""

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from flux_lora.adapter.attach import load_into
from flux_lora.adapter.base_weights import SHARD_INDEX
from flux_lora.adapter.fuse import fuse_into_base
from flux_lora.adapter.layer_types import Adapter, LoRA, adapter_at_strength, delta_of
from flux_lora.config.choices import AdapterTargets
from flux_lora.errors import AdapterFileError, ModelError
from tests.adapter.deltas import KINDS, change_for, drawn
from tests.adapter.example_adapters import answer, frozen_transformer, learned_adapter
from tests.adapter.native_base import PREFIX, as_native

WEIGHTS = "diffusion_pytorch_model.safetensors"
QKV = "double_blocks.0.img_attn.qkv"
PARTS = tuple(f"transformer_blocks.0.attn.to_{part}" for part in "qkv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The frozen tiny transformer in diffusers' layout, float32."""
    place = tmp_path_factory.mktemp("base") / "transformer"
    frozen_transformer().save_pretrained(place)
    return place


@pytest.fixture(scope="module")
def native(folder: Path) -> Path:
    """The same transformer as one file with FLUX's own names."""
    file = folder.parent / "flux1-tiny.safetensors"
    save_file(as_native(load_file(folder / WEIGHTS)), file, metadata={"modelspec.title": "tiny", "hash_sha256": "0"})
    return file


def test_a_fused_folder_answers_as_the_base_with_the_adapter_beside_it(folder: Path, tmp_path: Path):
    adapter = learned_adapter(targets=AdapterTargets.blocks_all)
    done = fuse_into_base(folder, adapter, tmp_path / "out", strength=0.7)
    beside = frozen_transformer()
    load_into(beside, adapter_at_strength(adapter, 0.7))
    fused = FluxTransformer2DModel.from_pretrained(tmp_path / "out").eval()
    torch.testing.assert_close(answer(fused), answer(beside), rtol=1e-4, atol=1e-5)
    assert done.modules == len(adapter.layers) and done.lost == pytest.approx(0, abs=1e-5)
    assert done.bytes == sum(file.stat().st_size for file in (tmp_path / "out").iterdir())


def test_a_sharded_base_gives_the_same_in_as_many_shards(folder: Path, tmp_path: Path):
    frozen_transformer().save_pretrained(tmp_path / "shards", max_shard_size="150KB")
    adapter = learned_adapter()
    fuse_into_base(folder, adapter, tmp_path / "whole")
    done = fuse_into_base(tmp_path / "shards", adapter, tmp_path / "out")
    shards = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(shards) > 1 and (tmp_path / "out" / SHARD_INDEX) in done.files
    whole = load_file(tmp_path / "whole" / WEIGHTS)
    together = {key: tensor for shard in shards for key, tensor in load_file(shard).items()}
    assert together.keys() == whole.keys() and all(torch.equal(together[key], whole[key]) for key in whole)
    assert FluxTransformer2DModel.from_pretrained(tmp_path / "out")


def test_a_pipeline_folder_gives_its_transformer(tiny_flux: Path, tmp_path: Path):
    fuse_into_base(tiny_flux, learned_adapter(), tmp_path / "out")
    assert FluxTransformer2DModel.from_pretrained(tmp_path / "out")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_change_fuses_alike_into_both_layouts(kind: str, folder: Path, native: Path, tmp_path: Path):
    before = load_file(folder / WEIGHTS)
    names = (PARTS[0], PARTS[2], "single_transformer_blocks.0.proj_mlp", "norm_out.linear", "proj_out")
    adapter = Adapter({name: change_for(kind, *before[f"{name}.weight"].shape) for name in names})
    fuse_into_base(folder, adapter, tmp_path / "out", strength=0.5)
    fuse_into_base(native, adapter, tmp_path / "out.safetensors", strength=0.5)
    after = load_file(tmp_path / "out" / WEIGHTS)
    for name in names:
        weight = before[f"{name}.weight"]
        torch.testing.assert_close(after[f"{name}.weight"], weight + 0.5 * delta_of(adapter.deltas[name], weight))
    assert same(load_file(tmp_path / "out.safetensors"), as_native(after))


@pytest.mark.parametrize("kind", ["LoRA", "LoKr", "LoHa"])
def test_a_change_of_the_whole_qkv_fuses_into_three_matrices(kind: str, folder: Path, native: Path, tmp_path: Path):
    final = "final_layer.adaLN_modulation.1"
    adapter = Adapter({QKV: change_for(kind, 96, 32), final: change_for("DoRA", 64, 32)})
    fuse_into_base(folder, adapter, tmp_path / "out")
    fuse_into_base(native, adapter, tmp_path / "out.safetensors")
    after, before = load_file(tmp_path / "out.safetensors"), load_file(native)
    for name in (QKV, final):
        weight = before[f"{PREFIX}{name}.weight"]
        expected = weight + delta_of(adapter.deltas[name], weight)
        torch.testing.assert_close(after[f"{PREFIX}{name}.weight"], expected)
    assert same(after, as_native(load_file(tmp_path / "out" / WEIGHTS)))


@pytest.mark.parametrize("kind", ["DoRA", "OFT"])
def test_a_change_that_needs_the_whole_qkv_names_the_base_that_has_it(
    kind: str, folder: Path, native: Path, tmp_path: Path
):
    adapter = Adapter({QKV: change_for(kind, 96, 32)})
    fuse_into_base(native, adapter, tmp_path / "out.safetensors")
    with pytest.raises(AdapterFileError, match=f"{QKV} is changed by an? {kind} as one matrix.*(?s:.)*own layout"):
        fuse_into_base(folder, adapter, tmp_path / "out")


def test_the_base_stays_as_it_was_and_all_that_no_piece_touches_is_copied(native: Path, tmp_path: Path):
    digest = sha256(native.read_bytes()).hexdigest()
    fuse_into_base(native, Adapter({PARTS[0]: change_for("LoRA", 32, 32)}), tmp_path / "new" / "out.safetensors")
    assert sha256(native.read_bytes()).hexdigest() == digest
    before, after = load_file(native), load_file(tmp_path / "new" / "out.safetensors")
    changed = [key for key in before if not torch.equal(before[key], after[key])]
    assert changed == [f"{PREFIX}{QKV}.weight"]
    assert torch.equal(before[changed[0]][32:], after[changed[0]][32:])


def test_the_base_s_metadata_stays_but_for_its_hash_and_new_facts_are_added(native: Path, tmp_path: Path):
    adapter = Adapter({PARTS[0]: change_for("LoRA", 32, 32)})
    fuse_into_base(native, adapter, tmp_path / "out.safetensors", metadata={"modelspec.merged_from": "zorb"})
    with safe_open(tmp_path / "out.safetensors", framework="pt") as opened:
        assert opened.metadata() == {"modelspec.title": "tiny", "modelspec.merged_from": "zorb"}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_dtype_stays_and_what_rounding_takes_is_told(dtype: torch.dtype, native: Path, tmp_path: Path):
    half = {key: tensor.to(dtype) for key, tensor in load_file(native).items()}
    save_file(half, tmp_path / "half.safetensors")
    change = replace(change_for("LoRA", 32, 32), alpha=2e-3)
    done = fuse_into_base(tmp_path / "half.safetensors", Adapter({PARTS[0]: change}), tmp_path / "out.safetensors")
    key = f"{PREFIX}{QKV}.weight"
    before, after = half[key][:32].float(), load_file(tmp_path / "out.safetensors")[key]
    delta = delta_of(change)
    kept = ((after[:32].float() - before) * delta).sum() / delta.square().sum()
    assert after.dtype == dtype and torch.equal(after[:32], (before + delta).to(dtype))
    assert done.lost == pytest.approx(1 - kept.item(), abs=1e-4) and done.lost > (0.1 if dtype is torch.bfloat16 else 0)
    assert done.largest == pytest.approx((delta.norm() / half[key].float().norm()).item(), rel=1e-3)
    assert done.largest_module == QKV


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("transformer_blocks.7.attn.to_q", "LoRA", r"transformer_blocks.7.attn.to_q \(1 such module"),
        ("text_encoder.layers.0", "LoRA", r"text_encoder.layers.0 \(1 such module"),
        ("transformer_blocks.0.ff.net.2", "LoRA", r"net.2 \(32 x 32\), but this base has 32 x 128"),
    ],
)
@pytest.mark.parametrize("layout", ["folder", "native"])
def test_an_adapter_of_another_base_is_refused_by_module_and_nothing_is_left(
    name: str, change: str, said: str, layout: str, request: pytest.FixtureRequest, tmp_path: Path
):
    with pytest.raises(AdapterFileError, match=said):
        fuse_into_base(request.getfixturevalue(layout), Adapter({name: change_for(change, 32, 32)}), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_an_fp8_base_is_refused_and_says_what_to_do_instead(native: Path, tmp_path: Path):
    small = {key: tensor.to(torch.float8_e4m3fn) for key, tensor in load_file(native).items()}
    save_file(small, tmp_path / "fp8.safetensors")
    with pytest.raises(AdapterFileError, match="is stored as F8_E4M3(?s:.)*fuse into the bf16 base"):
        fuse_into_base(tmp_path / "fp8.safetensors", learned_adapter(), tmp_path / "out.safetensors")


def test_numbers_beyond_fp16_are_refused_and_the_half_written_file_goes(native: Path, tmp_path: Path):
    save_file({key: tensor.half() for key, tensor in load_file(native).items()}, tmp_path / "half.safetensors")
    with pytest.raises(AdapterFileError, match="img_attn.proj would hold numbers that float16 cannot"):
        fuse_into_base(
            tmp_path / "half.safetensors", adapter_at_strength(learned_adapter(), 1e8), tmp_path / "out.safetensors"
        )
    assert [file.name for file in tmp_path.iterdir()] == ["half.safetensors"]


def test_no_file_of_the_user_is_written_over(folder: Path, tmp_path: Path):
    with pytest.raises(AdapterFileError, match="is there already"):
        fuse_into_base(folder, learned_adapter(), folder)
    (tmp_path / "out.partial").mkdir()
    with pytest.raises(AdapterFileError, match="out.partial is left over from a run that was stopped"):
        fuse_into_base(folder, learned_adapter(), tmp_path / "out")


def test_an_empty_adapter_is_refused(folder: Path, tmp_path: Path):
    with pytest.raises(AdapterFileError, match="changes nothing"):
        fuse_into_base(folder, Adapter({}), tmp_path / "out")


def test_a_base_that_is_none_or_not_whole_is_named(folder: Path, tmp_path: Path):
    for broken, said in ((tmp_path, "holds 0 safetensors files"), (tmp_path / "other.safetensors", "no FLUX")):
        if broken.suffix:
            save_file({"a.weight": torch.ones(2, 2)}, broken)
        with pytest.raises(ModelError, match=said):
            fuse_into_base(broken, learned_adapter(), tmp_path / "out")
    (tmp_path / "shards").mkdir()
    index = tmp_path / "shards" / SHARD_INDEX
    for contents, said in (
        (json.dumps({"weight_map": {"a": "x.safetensors"}}), "lacks 1 of 1 shards"),
        ("{}", "index"),
    ):
        index.write_text(contents)
        with pytest.raises(ModelError, match=said):
            fuse_into_base(tmp_path / "shards", learned_adapter(), tmp_path / "out")


def test_fusing_holds_about_one_tensor_and_not_a_shard(tmp_path: Path):
    peak_reset, status = Path("/proc/self/clear_refs"), Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc here")
    side, number = 768, 64
    weight = torch.full((side, side), 0.01, dtype=torch.bfloat16)
    names = [f"single_blocks.{at}.linear2" for at in range(number)]
    save_file({f"{name}.weight": weight.clone() for name in names}, tmp_path / "base.safetensors")
    shard = (tmp_path / "base.safetensors").stat().st_size
    adapter = Adapter({name: LoRA(1e-3 * drawn(4, side), drawn(side, 4), 4.0) for name in names})
    fuse_into_base(
        tmp_path / "base.safetensors", Adapter({names[0]: adapter.layers[names[0]]}), tmp_path / "first.safetensors"
    )
    peak_reset.write_text("5")
    held = kib(status, "VmRSS")
    fuse_into_base(tmp_path / "base.safetensors", adapter, tmp_path / "out.safetensors")
    taken = (kib(status, "VmHWM") - held) * 1024
    assert taken < 0.5 * shard


def kib(status: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(f"{name}:"))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.allclose(one[key], other[key], atol=1e-5) for key in one)
