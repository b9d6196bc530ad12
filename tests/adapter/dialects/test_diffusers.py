"""The dialect that diffusers and ComfyUI both read."""

import re

import pytest
import torch

from flux_lora.adapter.layer_types import Adapter, LoRA, lora_delta
from flux_lora.errors import AdapterFileError
from tests.adapter.dialects.widths import from_diffusers, to_diffusers

NAME = "single_transformer_blocks.3.proj_out"
KEYS = {f"transformer.{NAME}.lora_A.weight", f"transformer.{NAME}.lora_B.weight"}


def small() -> Adapter:
    return Adapter({NAME: LoRA(torch.randn(2, 6), torch.randn(4, 2), 8.0)})


def test_keys_are_spelled_as_diffusers_does_and_no_alpha_is_stored():
    assert set(to_diffusers(small(), torch.bfloat16)) == KEYS


def test_the_scale_is_inside_up():
    adapter = small()
    tensors = to_diffusers(adapter, torch.float32)
    change = tensors[f"transformer.{NAME}.lora_B.weight"] @ tensors[f"transformer.{NAME}.lora_A.weight"]
    torch.testing.assert_close(change, lora_delta(adapter.layers[NAME]))


def test_writing_undoes_reading():
    tensors = to_diffusers(small(), torch.bfloat16)
    again = to_diffusers(from_diffusers(tensors), torch.bfloat16)
    assert all(torch.equal(again[key], tensors[key]) for key in tensors)


@pytest.mark.parametrize(
    "key",
    [
        "lora_unet_double_blocks_0_img_mlp_0.lora_down.weight",
        f"transformer.{NAME}.lora_mid.weight",
        "text_encoder.x.lora_A.weight",
        "transformer.double_blocks.0.img_mlp.0.lora_A.weight",
        "surprise",
    ],
)
def test_a_key_of_another_layout_is_named(key: str):
    with pytest.raises(
        AdapterFileError, match=re.escape(key.rpartition(".lora_down")[0] or key.rpartition(".lora_A")[0] or key)
    ):
        from_diffusers(to_diffusers(small(), torch.float32) | {key: torch.ones(2)})


def test_a_layer_with_one_side_is_named():
    tensors = to_diffusers(small(), torch.float32)
    del tensors[f"transformer.{NAME}.lora_B.weight"]
    with pytest.raises(AdapterFileError, match="proj_out is one-sided or mixed: it has down"):
        from_diffusers(tensors)


@pytest.mark.parametrize("down", [torch.ones(3, 6), torch.ones(()), torch.ones(2, 6, 1, 1), torch.ones(0, 6)])
def test_a_layer_whose_sides_do_not_meet_is_named(down: torch.Tensor):
    tensors = to_diffusers(small(), torch.float32) | {f"transformer.{NAME}.lora_A.weight": down}
    with pytest.raises(AdapterFileError, match="impossible shape"):
        from_diffusers(tensors)
