"""Where in the model a layer is."""

import pytest
import torch

from flux_lora.adapter.dialects.module_names import block_of
from flux_lora.adapter.inspection import groups_of, layer_place
from flux_lora.adapter.layer_types import DoRA, LoKr, LoRA
from flux_lora.models.flux1.layers import flux1_shapes, fused_weights

SHAPES = flux1_shapes()


def test_every_linear_layer_of_flux_has_a_place_under_both_of_its_names():
    names = [*SHAPES, *fused_weights(SHAPES)]
    assert len(names) > 700
    assert [name for name in names if layer_place(name) == "other"] == []


def test_a_layer_and_the_fused_layer_it_is_part_of_are_in_the_same_stream_and_block():
    for fused, seat in fused_weights(SHAPES).items():
        for part in seat.parts:
            assert block_of(part) == block_of(fused)
            assert layer_place(part).split()[0] == layer_place(fused).split()[0], (part, fused)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("transformer_blocks.0.attn.to_out.0", "image attention"),
        ("transformer_blocks.0.attn.to_add_out", "text attention"),
        ("transformer_blocks.0.attn.add_k_proj", "text attention"),
        ("transformer_blocks.0.norm1_context.linear", "text modulation"),
        ("single_transformer_blocks.37.proj_out", "single output"),
        ("double_blocks.3.txt_attn.qkv", "text attention"),
        ("proj_out", "final layer"),
        ("text_encoder.text_model.encoder.layers.0.mlp.fc1", "CLIP text encoder"),
        ("text_encoder_2.encoder.block.0.layer.0.SelfAttention.q", "T5 text encoder"),
        ("unet.down_blocks.0", "other"),
    ],
)
def test_places(name: str, place: str):
    assert layer_place(name) == place


def test_groups_tell_the_ranks_alphas_and_kinds_of_each_place_in_the_model_s_order():
    lora, large = LoRA(torch.ones(2, 4), torch.ones(4, 2), 1.0), LoRA(torch.ones(4, 4), torch.ones(4, 4), 8.0)
    whole = LoKr(torch.ones(2, 2), None, None, torch.ones(2, 2), None, None, 1.0)
    found = groups_of(
        {
            "single_transformer_blocks.0.proj_out": whole,
            "transformer_blocks.0.attn.to_q": lora,
            "transformer_blocks.1.attn.to_q": DoRA(large, torch.ones(4)),
        }
    )
    assert [(group.place, group.layers, group.kinds) for group in found] == [
        ("image attention", 2, ("DoRA", "LoRA")),
        ("single output", 1, ("LoKr",)),
    ]
    assert (found[0].ranks, found[0].alphas) == ((2, 4), (1.0, 8.0))
    assert (found[1].ranks, found[1].alphas) == ((), ())


def test_a_file_s_own_spelling_tells_its_block():
    assert block_of("lora_unet_double_blocks_0_img_attn_qkv") == "transformer_blocks.0"
    assert block_of("lora_unet_input_blocks_4") == "rest"
