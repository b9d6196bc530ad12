"""Fixtures of every dialect in the wild, as its trainer spells it: the reading gives the change that was meant."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from flux_lora.adapter.dialects.table import DIALECTS, KNOWN, WRITABLE, Dialect, detect
from flux_lora.adapter.files import read_contents, write_tensors
from flux_lora.adapter.layer_types import Adapter, DoRA, LoHa, LoKr, LoRA, delta_of
from flux_lora.adapter.loaders.compatibility import LOADERS
from flux_lora.errors import AdapterFileError
from tests.adapter.dialects.widths import ALL, LINEAR1, QKV, WIDTH, adapter

Tensors = dict[str, Tensor]


def pair(rows: int, columns: int, rank: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A down and an up."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rank, columns, generator=generator), torch.randn(rows, rank, generator=generator)


def lora(stem: str, down: Tensor, up: Tensor, ends: tuple[str, str], alpha: float | None = None) -> Tensors:
    """One module's keys."""
    tensors = {f"{stem}{ends[0]}": down, f"{stem}{ends[1]}": up}
    return tensors if alpha is None else tensors | {f"{stem}.alpha": torch.tensor(alpha)}


AB = (".lora_A.weight", ".lora_B.weight")
DOWN_UP = (".lora_down.weight", ".lora_up.weight")
WHOLE = pair(3 * WIDTH, WIDTH, rank=4)
ONE = pair(WIDTH, WIDTH)
NORM = pair(2 * WIDTH, WIDTH)

SPELLED: list[tuple[str, str, Tensors, float]] = [
    # dialect, what is special, tensors of one module ({_}: its name with _ for dots), the scale that is meant
    ("diffusers", "as by default", lora("transformer.{}", *ONE, AB), 1.0),
    ("diffusers", "with alpha keys", lora("transformer.{}", *ONE, AB, 1.0), 0.5),
    ("diffusers", "lora_down", lora("transformer.{}", *ONE, DOWN_UP, 4.0), 2.0),
    ("diffusers", "old spelling", lora("transformer.{}", *ONE, (".lora.down.weight", ".lora.up.weight")), 1.0),
    ("bare", "bare", lora("{}", *ONE, AB), 1.0),
    ("simpletuner", "simpletuner", lora("diffusion_model.{}", *ONE, AB, 1.0), 0.5),
    ("onetrainer", "mixture", lora("lora_transformer_{_}", *ONE, DOWN_UP, 1.0), 0.5),
    ("kohya-split", "split", lora("lora_unet_{_}", *ONE, DOWN_UP, 3.0), 1.5),
    ("lycoris", "lycoris", lora("lycoris_{_}", *ONE, DOWN_UP, 3.0), 1.5),
]


def named(tensors: Mapping[str, Tensor], module: str) -> Tensors:
    return {key.replace("{_}", module.replace(".", "_")).replace("{}", module): value for key, value in tensors.items()}


@pytest.mark.parametrize(("dialect", "what", "tensors", "scale"), SPELLED)
@pytest.mark.parametrize("module", [QKV[0], LINEAR1[3], "x_embedder", "norm_out.linear", "proj_out"])
def test_one_module_under_diffusers_names(dialect: str, what: str, tensors: Tensors, scale: float, module: str):
    file = named(tensors, module)
    assert detect(file).name == dialect, what
    change = DIALECTS[dialect].read(file, {}).adapter.deltas[module]
    torch.testing.assert_close(delta_of(change), scale * ONE[1] @ ONE[0])


NATIVE: list[tuple[str, Callable[[str], str], tuple[str, str]]] = [
    ("kohya", lambda name: f"lora_unet_{name.replace('.', '_')}", DOWN_UP),
    ("comfyui", lambda name: f"diffusion_model.{name}", DOWN_UP),
    ("comfyui", lambda name: f"diffusion_model.{name}", AB),
    ("bfl", lambda name: name, AB),
    ("fal", lambda name: f"base_model.model.{name}", AB),
    ("omi", lambda name: f"transformer.{name}", DOWN_UP),
]


@pytest.mark.parametrize(("dialect", "stem", "ends"), NATIVE)
def test_a_matrix_that_was_trained_whole_is_shared_out_and_the_final_norm_is_turned(
    dialect: str, stem: Callable[[str], str], ends: tuple[str, str]
):
    file = lora(stem("double_blocks.0.img_attn.qkv"), *WHOLE, ends, 2.0)
    file |= lora(stem("final_layer.adaLN_modulation.1"), *NORM, ends)
    file |= lora(stem("single_blocks.2.linear2"), *ONE, ends)
    assert detect(file).name == dialect
    changes = DIALECTS[dialect].read(file, {}).adapter.deltas
    assert set(changes) == {*QKV, "norm_out.linear", "single_transformer_blocks.2.proj_out"}
    found = torch.cat([delta_of(changes[name]) for name in QKV])
    torch.testing.assert_close(found, 0.5 * WHOLE[1] @ WHOLE[0])
    torch.testing.assert_close(delta_of(changes["norm_out.linear"]), (NORM[1] @ NORM[0]).roll(WIDTH, dims=0))


def test_omi_numbers_the_parts_of_a_matrix():
    file = lora("transformer.double_blocks.0.img_attn.qkv.1", *ONE, DOWN_UP, 1.0)
    file |= lora("transformer.single_blocks.2.linear1.3", *ONE, DOWN_UP)
    assert detect(file).name == "omi"
    assert set(DIALECTS["omi"].read(file, {}).adapter.deltas) == {QKV[1], LINEAR1[3]}


def test_xlabs_names_its_matrices_by_side_and_has_no_mlp_in_single_blocks():
    file = lora("double_blocks.0.processor.qkv_lora2", *WHOLE, (".down.weight", ".up.weight"))
    file |= lora("single_blocks.2.processor.qkv_lora", *WHOLE, (".down.weight", ".up.weight"))
    file |= lora("single_blocks.2.processor.proj_lora", *ONE, (".down.weight", ".up.weight"))
    assert detect(file).name == "xlabs"
    changes = DIALECTS["xlabs"].read(file, {}).adapter.deltas
    for names in ([f"transformer_blocks.0.attn.add_{part}_proj" for part in "qkv"], LINEAR1[:3]):
        found = torch.cat([delta_of(changes[name]) for name in names])
        torch.testing.assert_close(found, WHOLE[1] @ WHOLE[0])
    assert len(changes) == 7


LOKR = {"lokr_w1": torch.randn(2, 2), "lokr_w2_a": torch.randn(2, 1), "lokr_w2_b": torch.randn(1, 2)}
LOHA = {f"hada_w{one}_{side}": pair(WIDTH, WIDTH)[side == "a"] for one in (1, 2) for side in "ab"}


@pytest.mark.parametrize(
    ("stem", "dialect"),
    [("lycoris_{_}", "lycoris"), ("transformer.{}", "diffusers"), ("lora_transformer_{_}", "onetrainer")],
)
def test_lokr_and_loha_are_read_under_diffusers_names(stem: str, dialect: str):
    tensors = {f"{stem}.{name}": tensor for name, tensor in LOKR.items()} | {f"{stem}.alpha": torch.tensor(0.5)}
    file = named(tensors, QKV[0]) | named({f"{stem}.{name}": tensor for name, tensor in LOHA.items()}, QKV[1])
    assert detect(file).name == dialect
    changes = DIALECTS[dialect].read(file, {}).adapter.deltas
    kron = torch.kron(LOKR["lokr_w1"], LOKR["lokr_w2_a"] @ LOKR["lokr_w2_b"])
    torch.testing.assert_close(delta_of(changes[QKV[0]]), 0.5 * kron)
    loha = (LOHA["hada_w1_a"] @ LOHA["hada_w1_b"]) * (LOHA["hada_w2_a"] @ LOHA["hada_w2_b"])
    torch.testing.assert_close(delta_of(changes[QKV[1]]), loha)


def test_lokr_of_a_fused_matrix_keeps_its_native_name():
    file = {"diffusion_model.double_blocks.0.img_attn.qkv.lokr_w1": torch.randn(3, 1)}
    file |= {"diffusion_model.double_blocks.0.img_attn.qkv.lokr_w2": torch.randn(WIDTH, WIDTH)}
    file |= {f"{key.replace('img_attn.qkv', 'img_mlp.0')}": value for key, value in file.items()}
    changes = DIALECTS["comfyui"].read(file, {}).adapter.deltas
    assert set(changes) == {"double_blocks.0.img_attn.qkv", "transformer_blocks.0.ff.net.0.proj"}
    again = DIALECTS["comfyui"].write
    assert again is not None
    assert set(again(Adapter(changes), torch.float32)) == set(file) | {
        f"diffusion_model.double_blocks.0.{name}.alpha" for name in ("img_attn.qkv", "img_mlp.0")
    }


@pytest.mark.parametrize(
    ("end", "shape", "per_input"),
    [
        (".lora_magnitude_vector", (WIDTH,), False),
        (".lora_magnitude_vector.weight", (WIDTH,), False),
        (".magnitude", (WIDTH,), False),
        (".dora_scale", (WIDTH, 1), False),
        (".dora_scale", (1, WIDTH), True),
    ],
)
def test_dora_is_read_in_each_of_its_spellings(end: str, shape: tuple[int, ...], per_input: bool):
    magnitude = torch.rand(shape)
    file = lora(f"transformer.{QKV[0]}", *ONE, AB, 1.0) | {f"transformer.{QKV[0]}{end}": magnitude}
    change = DIALECTS["diffusers"].read(file, {}).adapter.deltas[QKV[0]]
    assert isinstance(change, DoRA) and change.per_input is per_input and change.lora.scale == 0.5
    assert torch.equal(change.magnitude, magnitude.reshape(-1))


@pytest.mark.parametrize("kind", [LoRA, DoRA, LoKr, LoHa])
def test_lycoris_holds_every_kind_and_gives_it_back(kind: type):
    changes = {
        LoRA: LoRA(*ONE, 3.0),
        DoRA: DoRA(LoRA(*ONE, 3.0), torch.rand(WIDTH), per_input=True),
        LoKr: LoKr(LOKR["lokr_w1"], None, None, None, LOKR["lokr_w2_a"], LOKR["lokr_w2_b"], 0.5),
        LoHa: LoHa(*(LOHA[f"hada_w{one}_{side}"] for one in (1, 2) for side in "ab"), 3.0),
    }
    write, weight = DIALECTS["lycoris"].write, torch.randn(WIDTH, WIDTH)
    assert write is not None
    after = DIALECTS["lycoris"].read(write(Adapter({QKV[0]: changes[kind]}), torch.float32), {}).adapter.deltas[QKV[0]]
    assert type(after) is kind
    torch.testing.assert_close(delta_of(after, weight), delta_of(changes[kind], weight))


def test_files_of_two_trainers_in_one_are_refused():
    file = lora(f"transformer.{QKV[0]}", *ONE, AB) | lora("lora_unet_img_in", *ONE, DOWN_UP)
    with pytest.raises(AdapterFileError, match=r"mixes layouts: diffusers \(2 keys\), kohya \(2 keys\)"):
        detect(file)


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("lora_unet_input_blocks_1_0_proj_in.lora_down.weight", "Stable Diffusion"),
        ("lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", "Stable Diffusion"),
        ("diffusion_model.distilled_guidance_layer.in_proj.lora_A.weight", "Chroma"),
        ("transformer.transformer_blocks.0.img_mlp.net.0.proj.lora_A.weight", "Qwen-Image"),
        ("diffusion_model.blocks.0.self_attn.q.lora_A.weight", "Wan"),
        ("diffusion_model.layers.0.attention.to_q.lora_A.weight", "Z-Image"),
        ("double_blocks.0.img_attn.norm.key_norm.scale", "control LoRA"),
        ("double_blocks.0.img_attn.qkv.weight", "a base model"),
        ("unknown.weight", r"1 of 3 keys are of no layout that is known for FLUX.1, first 'unknown.weight'"),
    ],
)
def test_keys_of_another_model_are_named(key: str, what: str):
    with pytest.raises(AdapterFileError, match=what):
        detect(lora(f"transformer.{QKV[0]}", *ONE, AB) | {key: ONE[0]})


def test_a_module_that_is_changed_whole_and_in_part_is_refused():
    file = lora("transformer.double_blocks.0.img_attn.qkv.1", *ONE, DOWN_UP, 1.0)
    file |= lora("transformer.double_blocks.0.img_attn.qkv", *WHOLE, DOWN_UP, 1.0)
    with pytest.raises(AdapterFileError, match="attn.to_k twice"):
        DIALECTS["omi"].read(file, {})


def test_norms_that_do_not_change_are_left_out_and_told_and_others_are_refused():
    file = lora("diffusion_model.img_in", *ONE, DOWN_UP)
    idle = {"diffusion_model.double_blocks.0.img_attn.norm.key_norm.diff": torch.zeros(3)}
    assert detect(file | idle).name == "comfyui"
    content = DIALECTS["comfyui"].read(file | idle, {})
    assert content.remarks == ("1 change(s) of norms and biases are all zero and left out",)
    with pytest.raises(
        AdapterFileError, match="changes of norms, biases or whole weights that are not zero.*key_norm.diff"
    ):
        DIALECTS["comfyui"].read(file | {key: tensor + 1 for key, tensor in idle.items()}, {})


def test_the_way_out_for_what_was_trained_unsplit_does_not_lead_in_a_circle():
    """comfyui has no DoRA, lycoris no name for the whole matrix: what is left is a LoRA."""
    layer = LoRA(torch.ones(2, 4), torch.ones(12, 2), 2.0)
    whole = Adapter({"double_blocks.0.img_attn.qkv": DoRA(layer, torch.ones(4), per_input=True)})
    for name in WRITABLE:
        write = DIALECTS[name].write
        assert write is not None
        with pytest.raises(AdapterFileError) as caught:
            write(whole, torch.float32)
        assert caught.value.fix == "turn it into a LoRA beside its base: flux-lora resize base=<folder or file>"


@pytest.mark.parametrize("dialect", KNOWN, ids=lambda dialect: dialect.name)
def test_every_loader_that_a_row_promises_is_one_that_is_known(dialect: Dialect):
    assert set(dialect.loaders) <= set(LOADERS)
    assert all(re.compile(modules) for modules in (dialect.modules, *dialect.loaders.values()))


@pytest.mark.parametrize("dialect", WRITABLE)
def test_a_row_has_room_for_what_its_writer_takes(dialect: str):
    row = DIALECTS[dialect]
    assert row.write is not None
    for name in ALL:
        module = adapter([name])
        if re.fullmatch(row.modules, name):
            row.write(module, torch.float32)
        else:
            with pytest.raises(AdapterFileError, match=re.escape(name)):
                row.write(module, torch.float32)


def test_every_dialect_has_a_name_of_its_own_and_says_who_uses_it():
    assert len(DIALECTS) == len(KNOWN)
    assert all(dialect.about for dialect in KNOWN)


def test_an_empty_file_is_no_adapter(tmp_path: Path):
    write_tensors({}, tmp_path / "empty", {})
    with pytest.raises(AdapterFileError, match="holds no tensors"):
        read_contents(tmp_path / "empty")
