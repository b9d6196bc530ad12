"""Changes of diffusers' modules as changes of FLUX's own."""

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from flux_lora.adapter.dialects.bfl import from_bfl, to_bfl
from flux_lora.adapter.dialects.module_names import bfl_name, is_bfl
from flux_lora.adapter.layer_types import OFT, Adapter, DoRA, LayerDelta, LoKr, LoRA, delta_of
from flux_lora.errors import AdapterFileError
from tests.adapter.dialects.widths import ALL, LINEAR1, QKV, WIDTH, adapter

NATIVE_SHAPES = {
    "img_in": (3072, 64),
    "txt_in": (3072, 4096),
    "time_in.in_layer": (3072, 256),
    "vector_in.in_layer": (3072, 768),
    "double_blocks.18.img_attn.qkv": (9216, 3072),
    "double_blocks.18.txt_mlp.2": (3072, 12288),
    "double_blocks.18.txt_mod.lin": (18432, 3072),
    "single_blocks.37.linear1": (21504, 3072),
    "single_blocks.37.linear2": (3072, 15360),
    "single_blocks.37.modulation.lin": (9216, 3072),
    "final_layer.linear": (64, 3072),
    "final_layer.adaLN_modulation.1": (6144, 3072),
}
"""As in BFL's released weights."""
KRON = LoKr(torch.randn(3, 1), None, None, torch.randn(WIDTH, WIDTH), None, None, 1.0)


def test_full_size_changes_get_the_shapes_of_the_released_weights():
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(guidance_embeds=True)
    linears = {name: module for name, module in transformer.named_modules() if isinstance(module, nn.Linear)}
    layers = {
        name: LoRA(torch.ones(1, module.in_features), torch.ones(module.out_features, 1), 1.0)
        for name, module in linears.items()
        if bfl_name(name).module in NATIVE_SHAPES
    }
    found = {}
    for name, change in to_bfl(Adapter(layers)):
        assert isinstance(change, LoRA)
        found[name] = (change.up.shape[0], change.down.shape[1])
    assert found == NATIVE_SHAPES


def test_there_and_back_is_the_same_for_every_module():
    before = adapter(ALL)
    native = dict(to_bfl(before))
    assert len(native) == len({bfl_name(name).module for name in ALL}) and all(is_bfl(name) for name in native)
    after = from_bfl(native)
    assert set(after) == set(ALL)
    for name, layer in before.layers.items():
        change = after[name]
        assert isinstance(change, LoRA) and change.alpha == layer.alpha
        assert torch.equal(change.down, layer.down) and torch.equal(change.up, layer.up)


@pytest.mark.parametrize(
    "change",
    [
        KRON,
        OFT(torch.zeros(3, WIDTH, WIDTH)),
        DoRA(LoRA(torch.ones(1, 4), torch.ones(12, 1), 1.0), torch.ones(4), True),
    ],
)
def test_what_cannot_be_taken_apart_keeps_its_native_name_both_ways(change: LayerDelta):
    name = "double_blocks.0.img_attn.qkv"
    assert from_bfl({name: change}) == {name: change}
    assert dict(to_bfl(Adapter({name: change}))) == {name: change}


def test_a_change_that_cannot_be_put_into_a_matrix_is_named():
    whole = LoKr(torch.randn(2, 2), None, None, torch.randn(2, 2), None, None, 1.0)
    assert delta_of(whole).shape == (WIDTH, WIDTH)
    with pytest.raises(AdapterFileError, match=r"to_k is changed by a LoKr, which cannot be put into the one matrix"):
        dict(to_bfl(Adapter(adapter(QKV[:1]).deltas | {QKV[1]: whole})))


def test_a_matrix_changed_whole_and_in_part_is_refused():
    for part in (QKV[0], QKV[2]):
        with pytest.raises(AdapterFileError, match="twice"):
            dict(to_bfl(Adapter({"double_blocks.0.img_attn.qkv": KRON, part: adapter([part]).deltas[part]})))


def test_parts_of_another_model_are_refused():
    odd = adapter(LINEAR1[:3]).deltas | {LINEAR1[3]: LoRA(torch.ones(1, WIDTH), torch.ones(3 * WIDTH, 1), 1.0)}
    with pytest.raises(AdapterFileError, match=r"single_blocks\.2\.linear1 has an impossible shape"):
        dict(to_bfl(Adapter(odd)))
