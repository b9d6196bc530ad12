"""A base comes off the disk tensor by tensor, whole or not at all."""

import json
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file, save_file

from flux_lora.adapter.attach import adapter_modules, attach, linear_layers, trainable_layers
from flux_lora.adapter.trainable import matching_layers
from flux_lora.config.choices import Quantization
from flux_lora.errors import ModelError
from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux1.layers import LAYER_GROUPS
from flux_lora.models.flux1.load import load_transformer
from flux_lora.models.flux1.velocity import velocity_of
from flux_lora.models.frozen_linear import FrozenLinear, quantization_said
from flux_lora.models.mini import MINI, mini_folder
from flux_lora.models.weight_stream import weight_files

WEIGHTS = "diffusion_pytorch_model.safetensors"


def test_the_transformer_is_as_diffusers_itself_loads_it(tiny_flux):
    ours = load_transformer(str(tiny_flux), torch.bfloat16).state_dict()
    theirs = FluxTransformer2DModel.from_pretrained(tiny_flux / "transformer", dtype=torch.bfloat16).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def sharded(folder: Path, tiny_flux: Path) -> Path:
    FluxTransformer2DModel.from_pretrained(tiny_flux / "transformer").save_pretrained(folder, max_shard_size="20KB")
    return folder


def test_shards_are_read_as_one(tiny_flux, tmp_path):
    assert len(weight_files(sharded(tmp_path / "transformer", tiny_flux))) > 1
    (tmp_path / "model_index.json").write_text((tiny_flux / "model_index.json").read_text())
    apart, whole = (load_transformer(str(path), torch.float32).state_dict() for path in (tmp_path, tiny_flux))
    assert all(torch.equal(apart[name], whole[name]) for name in whole)


def test_a_missing_shard_is_named_before_anything_is_read(tiny_flux, tmp_path):
    folder = sharded(tmp_path, tiny_flux)
    gone = weight_files(folder)[1]
    gone.unlink()
    with pytest.raises(ModelError, match=gone.name):
        weight_files(folder)


def test_weights_of_another_size_are_refused_by_name(tiny_flux, tmp_path):
    changed_tiny(tiny_flux, tmp_path, "x_embedder.weight", torch.zeros(3, 5))
    with pytest.raises(ModelError, match=r"x_embedder.weight is \[3, 5\]"):
        load_transformer(str(tmp_path), torch.float32)


def test_a_tensor_that_is_missing_is_named(tiny_flux, tmp_path):
    changed_tiny(tiny_flux, tmp_path, "x_embedder.weight", None)
    with pytest.raises(ModelError, match="1 tensors are missing from the file, first x_embedder.weight"):
        load_transformer(str(tmp_path), torch.float32)


def changed_tiny(tiny_flux: Path, place: Path, name: str, tensor: torch.Tensor | None) -> None:
    (place / "transformer").mkdir()
    (place / "model_index.json").write_text((tiny_flux / "model_index.json").read_text())
    tensors = load_file(tiny_flux / "transformer" / WEIGHTS)
    tensors.pop(name)
    save_file({**tensors, **({} if tensor is None else {name: tensor})}, place / "transformer" / WEIGHTS)
    config = json.loads((tiny_flux / "transformer" / "config.json").read_text())
    (place / "transformer" / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("how", [Quantization.int8, Quantization.nf4])
def test_the_linear_layers_of_the_blocks_are_quantised_and_nothing_else_is(how):
    transformer = load_transformer(MINI, torch.bfloat16, quantize=how)
    kept = {name for name, each in transformer.named_modules() if isinstance(each, FrozenLinear)}
    linears = {name for name, each in transformer.named_modules() if isinstance(each, torch.nn.Linear)}
    assert {name for name in linears if name.startswith(("transformer_blocks", "single_"))} == kept
    said = quantization_said(transformer, LAYER_GROUPS["blocks_all"])
    assert said.startswith(f"{len(kept)} layers quantised, their weights changed by ")


GRADIENT_COSINE = {Quantization.int8: 0.999, Quantization.nf4: 0.97}


@pytest.mark.parametrize("how", [Quantization.int8, Quantization.nf4])
def test_a_lora_on_a_quantised_base_has_the_gradient_of_one_on_the_whole_base(how):
    whole, rounded = (gradient(quantize) for quantize in (Quantization.none, how))
    cosine = float((whole * rounded).sum() / whole.norm() / rounded.norm())
    assert cosine > GRADIENT_COSINE[how]


def gradient(quantize: Quantization) -> torch.Tensor:
    """Of the LoRA's `up` of every layer, at one point."""
    transformer, generator = load_transformer(MINI, torch.float32, quantize=quantize), torch.Generator().manual_seed(0)
    layers = matching_layers(linear_layers(transformer), "attention_mlp", LAYER_GROUPS)
    attach(transformer, layers, rank=8, alpha=8, generator=generator)
    assert len(adapter_modules(transformer)) == len(layers)
    config = transformer.config
    noisy = torch.randn(2, config["in_channels"] // 4, 16, 16, generator=generator)
    embeds = {
        "t5": torch.randn(2, 16, config["joint_attention_dim"], generator=generator),
        "pooled": torch.randn(2, config["pooled_projection_dim"], generator=generator),
    }
    answer = velocity_of(transformer, guidance=1.0)(noisy, torch.tensor([0.3, 0.8]), PromptEmbeds(embeds))
    (answer - torch.randn(noisy.shape, generator=generator)).square().mean().backward()
    grads = [each.held.up.grad for each in trainable_layers(transformer).values()]
    return torch.cat([grad.flatten() for grad in grads if grad is not None])


def test_the_embedded_base_is_one_file():
    assert [file.name for file in weight_files(mini_folder() / "transformer")] == [WEIGHTS]
