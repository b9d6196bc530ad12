"""Changes of CLIP and T5 under all of their names."""

from pathlib import Path

import pytest
import torch

from flux_lora.adapter.dialects.text_encoders import text_encoder_module, to_text_encoders
from flux_lora.adapter.files import read_adapter, read_contents, write_tensors
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.errors import AdapterFileError
from tests.adapter.dialects.widths import QKV, adapter, to_diffusers, to_kohya

CLIP = "text_encoder.text_model.encoder.layers.11.self_attn.q_proj"
T5 = "text_encoder_2.encoder.block.7.layer.1.DenseReluDense.wi_0"


@pytest.mark.parametrize(
    ("stem", "module"),
    [
        ("lora_te1_text_model_encoder_layers_11_self_attn_q_proj", CLIP),
        ("lora_te_text_model_encoder_layers_11_self_attn_q_proj", CLIP),
        ("text_encoder.text_model.encoder.layers.11.self_attn.q_proj", CLIP),
        ("text_encoder.encoder.layers.11.self_attn.q_proj", CLIP),
        ("text_encoders.clip_l.transformer.text_model.encoder.layers.11.self_attn.q_proj", CLIP),
        ("clip_l.text_model.encoder.layers.11.self_attn.q_proj", CLIP),
        ("lora_te1_text_model_encoder_layers_0_mlp_fc2", "text_encoder.text_model.encoder.layers.0.mlp.fc2"),
        ("lora_te3_encoder_block_7_layer_1_DenseReluDense_wi_0", T5),
        ("lora_te2_encoder_block_7_layer_1_DenseReluDense_wi_0", T5),
        ("text_encoder_2.encoder.block.7.layer.1.DenseReluDense.wi_0", T5),
        ("text_encoders.t5xxl.transformer.encoder.block.7.layer.1.DenseReluDense.wi_0", T5),
        ("t5.encoder.block.7.layer.1.DenseReluDense.wi_0", T5),
        ("lora_te2_text_model_encoder_layers_11_self_attn_q_proj", None),  # SDXL's second CLIP
        ("lora_te1_text_projection", None),
        ("x_embedder", None),
    ],
)
def test_every_spelling_means_one_module(stem: str, module: str | None):
    assert text_encoder_module(stem) == module


def encoders() -> Adapter:
    return Adapter(
        {name: LoRA(torch.randn(2, 4), torch.randn(4, 2), alpha) for name, alpha in ((CLIP, 3.0), (T5, 1.0))}
    )


def test_what_is_written_in_kohyas_names_comes_back_beside_any_dialect(tmp_path: Path):
    text = to_text_encoders(encoders(), torch.float32)
    assert "lora_te1_text_model_encoder_layers_11_self_attn_q_proj.lora_down.weight" in text
    assert "lora_te3_encoder_block_7_layer_1_DenseReluDense_wi_0.alpha" in text
    for write, dialect in ((to_kohya, "kohya"), (to_diffusers, "diffusers")):
        write_tensors(write(adapter(QKV), torch.float32) | text, tmp_path / "x", {})
        reading = read_contents(tmp_path / "x")
        assert reading.dialect == dialect and set(reading.adapter.deltas) == set(QKV)
        assert {name: layer.alpha for name, layer in reading.text_encoders.layers.items()} == {CLIP: 3.0, T5: 1.0}


def test_a_file_of_text_encoders_alone_is_read(tmp_path: Path):
    write_tensors(to_text_encoders(encoders(), torch.bfloat16), tmp_path / "x", {})
    reading = read_contents(tmp_path / "x")
    assert not reading.adapter.deltas and set(reading.text_encoders.deltas) == {CLIP, T5}


def test_whoever_takes_the_transformer_alone_does_not_lose_the_rest_in_silence(tmp_path: Path):
    tensors = to_diffusers(adapter(QKV), torch.float32) | to_text_encoders(encoders(), torch.float32)
    write_tensors(tensors, tmp_path / "x", {})
    with pytest.raises(AdapterFileError, match=r"changes text encoders too \(2 layers\)"):
        read_adapter(tmp_path / "x")
