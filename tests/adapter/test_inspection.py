"""Telling what a LoRA file is, with no model at hand."""

import json
import math
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from flux_lora.adapter.files import write_dialect, write_tensors
from flux_lora.adapter.inspection import describe
from flux_lora.adapter.layer_types import Adapter, LoRA, frobenius_norm
from flux_lora.adapter.loaders.keys import _ending
from flux_lora.adapter.metadata import Label, add_metadata, metadata_of
from flux_lora.errors import AdapterFileError
from flux_lora.models.flux1.programs import PROGRAMS
from tests.adapter.other_trainers import DIALECTS

NAMES = ("transformer_blocks.0.attn.to_q", "transformer_blocks.0.ff.net.2", "single_transformer_blocks.1.proj_out")
LABEL = Label(
    title="mug",
    trigger="zkmug",
    base="mini",
    architecture="flux-1-dev",
    programs=PROGRAMS,
    date="2026-11-21",
    resolution=128,
    licence="apache-2.0",
    recipe='{"train": {"steps": 4}}',
)


def small() -> Adapter:
    return Adapter({name: LoRA(torch.randn(2, 6), torch.randn(4, 2), 8.0) for name in NAMES})


def pair(name: str, down: str, up: str) -> dict[str, Tensor]:
    return {f"{name}{down}": torch.ones(2, 6), f"{name}{up}": torch.ones(4, 2)}


def export(folder: Path) -> tuple[Path, Adapter]:
    adapter = small()
    file = write_dialect(
        adapter, folder / "x", dialect="diffusers", metadata=metadata_of(LABEL, adapter), dtype=torch.float32
    )
    add_metadata(file, {})
    return file, adapter


def test_an_export_is_described(tmp_path: Path):
    file, adapter = export(tmp_path)
    seen = describe(file)
    assert (seen.kinds, seen.dialect, seen.dtypes, seen.ranks, seen.layers) == (
        ("LoRA",),
        "diffusers",
        ("F32",),
        (2,),
        3,
    )
    assert (seen.trigger, seen.base, seen.title, seen.licence, seen.finite) == (
        "zkmug",
        "mini",
        "mug",
        "apache-2.0",
        True,
    )
    assert seen.norms["single_transformer_blocks.1"] == pytest.approx(
        frobenius_norm(adapter.layers[NAMES[2]]), rel=1e-5
    )
    assert set(seen.norms) == {"transformer_blocks.0", "single_transformer_blocks.1"}
    assert [(group.place, group.layers) for group in seen.groups] == [
        ("image attention", 1),
        ("image mlp", 1),
        ("single output", 1),
    ]
    assert seen.recipe and seen.remarks == ()


def test_an_export_is_taken_whole_by_diffusers_and_comfyui(tmp_path: Path):
    verdicts = {verdict.reader: verdict.takes for verdict in describe(export(tmp_path)[0]).verdicts}
    assert verdicts["diffusers"] == verdicts["ComfyUI"] == "all"
    assert verdicts["sd-scripts"] == "none"


KINDS = {"lycoris lokr": "LoKr", "lycoris loha": "LoHa", "lycoris oft": "OFT", "peft dora": "DoRA", "kohya": "LoRA"}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_kinds_are_told_apart(name: str, kind: str, tmp_path: Path):
    save_file(DIALECTS[name], tmp_path / "x")
    assert describe(tmp_path / "x").kinds == (kind,)


FOREIGN = {
    "GLoRA": {f"{side}{n}.weight": torch.ones(2, 2) for n in (1, 2) for side in "ab"},
    "BOFT": {"oft_blocks": torch.ones(3, 2, 4, 4)},
    "whole weights": {"diff": torch.ones(4, 4)},
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_kinds_that_this_package_does_not_apply_are_named_and_who_takes_them(kind: str, tmp_path: Path):
    stem = f"lycoris_{NAMES[0].replace('.', '_')}"
    save_file({f"{stem}.{end}": tensor for end, tensor in FOREIGN[kind].items()}, tmp_path / "x")
    seen = describe(tmp_path / "x")
    assert seen.kinds == (kind,) and any("not read as an adapter" in remark for remark in seen.remarks)
    assert {each.reader: each.takes for each in seen.verdicts}["ComfyUI"] == "all"


@pytest.mark.parametrize("said", ["True", True])
def test_a_file_of_sd_scripts_with_q_k_and_v_apart_is_told_to_be_weak(said: object, tmp_path: Path):
    metadata = {"ss_network_args": json.dumps({"split_qkv": said})}
    save_file(DIALECTS["kohya"], tmp_path / "x", metadata)
    assert any("at a third (double blocks) or a quarter" in remark for remark in describe(tmp_path / "x").remarks)
    save_file(DIALECTS["kohya"], tmp_path / "y", {"ss_network_args": json.dumps({"split_qkv": "False"})})
    assert not any("at a third" in remark for remark in describe(tmp_path / "y").remarks)


def test_the_length_of_what_depends_on_the_base_is_not_made_up(tmp_path: Path):
    save_file(DIALECTS["lycoris oft"], tmp_path / "x")
    seen = describe(tmp_path / "x")
    assert set(seen.norms.values()) == {0.0}
    assert any("OFT changes in length depends" in remark for remark in seen.remarks)


def test_layers_of_text_encoders_are_counted_apart(tmp_path: Path):
    save_file(DIALECTS["kohya with text encoders"], tmp_path / "x")
    seen = describe(tmp_path / "x")
    assert (seen.layers, seen.text_layers) == (11, 3)
    assert {group.place for group in seen.groups} >= {"CLIP text encoder", "T5 text encoder"}


def test_a_stored_alpha_is_counted(tmp_path: Path):
    name = "lora_unet_double_blocks_0_img_attn_proj"
    tensors = pair(name, ".lora_down.weight", ".lora_up.weight") | {f"{name}.alpha": torch.tensor(1.0)}
    write_tensors(tensors, tmp_path / "x", {})
    assert describe(tmp_path / "x").alphas == (1.0,)
    assert describe(tmp_path / "x").norms["transformer_blocks.0"] == pytest.approx(0.5 * 2 * 24**0.5)


def test_a_lora_of_another_model_is_described_as_far_as_its_names_go(tmp_path: Path):
    save_file(DIALECTS["sdxl"], tmp_path / "x")
    seen = describe(tmp_path / "x")
    assert (seen.dialect, seen.kinds, seen.ranks, seen.layers) == ("unknown", ("LoRA",), (2,), 1)
    assert "not read as an adapter of FLUX: " in seen.remarks[0]
    assert {verdict.takes for verdict in seen.verdicts} == {"none"}


def attention(name: str, outputs: int, inputs: int) -> dict[str, Tensor]:
    return {f"{name}.lora_A.weight": torch.ones(2, inputs), f"{name}.lora_B.weight": torch.ones(outputs, 2)}


@pytest.mark.parametrize(
    ("name", "shape", "told"),
    [
        ("diffusion_model.double_blocks.0.img_attn.proj", (6144, 6144), "6144 x 6144, which FLUX.2 has"),
        (
            "transformer.transformer_blocks.59.attn.to_q",
            (3072, 3072),
            "FLUX.1 has no transformer_blocks.59.attn.to_q.*Qwen-Image",
        ),
        ("transformer.x_embedder", (3072, 128), "control LoRA"),
    ],
)
def test_layers_that_only_share_flux1_s_names_are_told(name: str, shape: tuple[int, int], told: str, tmp_path: Path):
    write_tensors(attention(name, *shape), tmp_path / "x", {})
    assert re.search(told, " ".join(describe(tmp_path / "x").remarks))


@pytest.mark.parametrize(
    ("width", "size"), [(3072, "klein 4B"), (4096, "klein 9B"), (6144, "dev"), (512, "of another size")]
)
@pytest.mark.parametrize("prefix", ["diffusion_model.single_blocks.0.linear1", "lora_unet_single_blocks_0_linear1"])
def test_a_lora_for_flux2_is_told_with_its_size(width: int, size: str, prefix: str, tmp_path: Path):
    write_tensors(attention(prefix, 9 * width, width), tmp_path / "x", {})
    seen = describe(tmp_path / "x")
    assert f"for FLUX.2 {size}" in seen.remarks[0] and "not for FLUX.1" in seen.remarks[0]
    takes = {verdict.reader: verdict for verdict in seen.verdicts}
    assert takes["sd-scripts"].reason == takes["Forge"].reason == "does not know FLUX.2"
    assert takes["ComfyUI"].takes == "all"
    assert ("not as wide" in takes["ComfyUI"].reason) == (width == 512)


def test_a_file_that_changes_nothing_is_told(tmp_path: Path):
    tensors = attention("transformer.transformer_blocks.0.attn.to_q", 3072, 3072)
    write_tensors({key: tensor * ("A" in key) for key, tensor in tensors.items()}, tmp_path / "x", {})
    assert "it changes nothing: it has not learned yet" in describe(tmp_path / "x").remarks


def test_an_alpha_that_is_no_number_is_told_once(tmp_path: Path):
    tensors = {f"transformer.transformer_blocks.{block}.attn.to_q.alpha": torch.tensor(math.nan) for block in (0, 1)}
    for block in (0, 1):
        tensors |= attention(f"transformer.transformer_blocks.{block}.attn.to_q", 4, 4)
    write_tensors(tensors, tmp_path / "x", {})
    seen = describe(tmp_path / "x")
    assert len(seen.alphas) == 1 and len(seen.groups[0].alphas) == 1 and not seen.finite


def test_numbers_that_are_not_finite_are_seen(tmp_path: Path):
    tensors = pair("transformer.transformer_blocks.0.attn.to_q", ".lora_A.weight", ".lora_B.weight")
    tensors["transformer.transformer_blocks.0.attn.to_q.lora_B.weight"][0, 0] = float("nan")
    write_tensors(tensors, tmp_path / "x", {})
    assert not describe(tmp_path / "x").finite


def test_a_base_model_is_not_a_lora(tmp_path: Path):
    write_tensors({"double_blocks.0.img_attn.qkv.weight": torch.ones(2, 2)}, tmp_path / "x", {})
    with pytest.raises(AdapterFileError, match="holds no LoRA.*img_attn"):
        describe(tmp_path / "x")


def test_a_hash_that_is_not_the_file_s_own_is_remarked_on(tmp_path: Path):
    tensors = DIALECTS["diffusers"]
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for wrong, told in ((empty, "no bytes at all"), ("0x" + "a" * 64, "not that of its tensors")):
        save_file(tensors, tmp_path / "x", {"sshs_model_hash": wrong})
        assert any(told in remark for remark in describe(tmp_path / "x").remarks)


def test_a_peft_folder_is_described_and_its_alpha_is_the_config_s(tmp_path: Path):
    save_file(DIALECTS["peft"], tmp_path / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "target_modules": ["to_q"]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    seen = describe(tmp_path)
    assert (seen.dialect, seen.alphas, seen.remarks[:1]) == ("peft", (6.0,), ())


def test_a_folder_with_a_pickle_or_without_an_adapter_is_refused(tmp_path: Path):
    with pytest.raises(AdapterFileError, match=r"holds 0 \.safetensors"):
        describe(tmp_path)
    torch.save({"a": torch.ones(1)}, tmp_path / "adapter_model.bin")
    with pytest.raises(AdapterFileError, match="zip archive") as refused:
        describe(tmp_path)
    assert "pickle" in refused.value.fix


GIANTS = {
    "LoRA": {"lora_A.weight": (1, 10**6), "lora_B.weight": (10**6, 1)},
    "LoRA of a huge rank": {"lora_A.weight": (10**6, 1), "lora_B.weight": (1, 10**6)},
    "LoKr": {"lokr_w1": (1, 10**6), "lokr_w2": (10**6, 1)},
    "LoHa": {f"hada_w{number}_{side}": (10**6, 1)[:: 1 if side == "a" else -1] for number in (1, 2) for side in "ab"},
}


@pytest.mark.parametrize("parts", GIANTS.values(), ids=GIANTS)
def test_a_small_file_that_stands_for_a_giant_costs_no_more_than_itself(parts: dict, tmp_path: Path):
    name = "transformer.transformer_blocks.0.attn.to_q"
    save_file({f"{name}.{part}": torch.ones(shape) for part, shape in parts.items()}, tmp_path / "x")
    began = time.process_time()
    try:
        describe(tmp_path / "x")
    except AdapterFileError as refused:
        assert "1000000 x 1000000" in refused.problem
    assert time.process_time() - began < 1


def test_inspecting_imports_no_model_library():
    heavy = "{'diffusers', 'transformers', 'peft'}"
    program = f"import sys, flux_lora.adapter.inspection; print(*({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_file_of_a_hundred_thousand_names_asks_for_each_ending_once(tmp_path: Path):
    names = [f"a.b{number}.lora_{side}.weight" for number in range(2_000) for side in "AB"]
    save_file({name: torch.zeros(1, 1) for name in names}, tmp_path / "x")
    _ending.cache_clear()
    describe(tmp_path / "x")
    assert _ending.cache_info().misses == len(names)


def test_an_alpha_that_no_float_can_hold_is_no_alpha(tmp_path: Path):
    name = "transformer.transformer_blocks.0.attn.to_q"
    settings = json.dumps({"transformer.r": 4, "transformer.lora_alpha": 10**400})
    tensors = {f"{name}.lora_A.weight": torch.ones(4, 64), f"{name}.lora_B.weight": torch.ones(64, 4)}
    save_file(tensors, tmp_path / "x", {"lora_adapter_metadata": settings})
    assert any("no numbers to use" in remark for remark in describe(tmp_path / "x").remarks)
