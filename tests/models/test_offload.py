"""Modulation that waits in host memory answers with the same bits, and takes no place while it waits."""

import pytest
import torch
from torch import Tensor, nn

from flux_lora.adapter.attach import attach, linear_layers, trainable_layers
from flux_lora.adapter.trainable import matching_layers
from flux_lora.config.choices import AdapterTargets, Quantization
from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux1.layers import LAYER_GROUPS, MODULATION
from flux_lora.models.flux1.load import load_transformer
from flux_lora.models.flux1.velocity import velocity_of
from flux_lora.models.mini import MINI
from flux_lora.models.offload import OffloadedLinear


@pytest.mark.parametrize("how", list(Quantization))
@pytest.mark.parametrize("checkpointing", [False, True])
def test_answers_and_gradients_are_bit_equal(how: Quantization, checkpointing: bool):
    here, away = (answer_and_gradient(how, offload, checkpointing) for offload in (False, True))
    assert all(torch.equal(*both) for both in zip(here, away, strict=True))


def answer_and_gradient(how: Quantization, offload: bool, checkpointing: bool) -> tuple[Tensor, Tensor]:
    transformer = load_transformer(MINI, torch.float32, quantize=how, offload_modulation=offload)
    generator, config = torch.Generator().manual_seed(0), transformer.config
    layers = matching_layers(linear_layers(transformer), AdapterTargets.attention, LAYER_GROUPS)
    attach(transformer, layers, rank=4, alpha=4, generator=generator)
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    noisy = torch.randn(2, config["in_channels"] // 4, 16, 16, generator=generator)
    embeds = {
        "t5": torch.randn(2, 16, config["joint_attention_dim"], generator=generator),
        "pooled": torch.randn(2, config["pooled_projection_dim"], generator=generator),
    }
    answer = velocity_of(transformer, guidance=1.0)(noisy, torch.tensor([0.3, 0.8]), PromptEmbeds(embeds))
    answer.square().mean().backward()
    grads = [each.held.up.grad for each in trainable_layers(transformer).values()]
    return answer.detach(), torch.cat([grad.flatten() for grad in grads if grad is not None])


def test_only_the_modulation_of_the_blocks_waits():
    transformer = load_transformer(MINI, torch.bfloat16, offload_modulation=True)
    away = {name for name, each in transformer.named_modules() if isinstance(each, OffloadedLinear)}
    whole = load_transformer(MINI, torch.bfloat16)
    assert away == {name for name, each in whole.named_modules() if matches_modulation(name, each)}


def matches_modulation(name: str, module: nn.Module) -> bool:
    inside = name.startswith(("transformer_blocks.", "single_transformer_blocks."))
    assert len(MODULATION) == 2
    return isinstance(module, nn.Linear) and inside and ".norm" in name
