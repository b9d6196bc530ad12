"""Memory and work are counted before they are spent, and the counts are true."""

import gc

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Generator, Tensor, nn

from flux_lora.adapter.attach import attach, detach, linear_layers
from flux_lora.adapter.trainable import matching_layers
from flux_lora.config.choices import AdapterTargets
from flux_lora.models.counting import Count, counted, counted_by_block
from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux1.layers import LAYER_GROUPS
from flux_lora.models.flux1.velocity import velocity_of
from flux_lora.models.flux1.weightless import weightless_transformer

GIB = 2**30
TERA = 1e12


def step_of(transformer: FluxTransformer2DModel, pixels: int, *, rank: int, checkpointing: bool) -> Count:
    """A training step of batch 1 in bf16, with LoRAs on every attention layer."""
    config, generator = transformer.config, Generator()
    layers = matching_layers(linear_layers(transformer), AdapterTargets.attention, LAYER_GROUPS)
    attach(transformer, layers, rank=rank, alpha=rank, generator=generator)
    if checkpointing:
        transformer.enable_gradient_checkpointing()
    with torch.device("meta"):
        noisy = torch.empty(1, 16, pixels // 8, pixels // 8, dtype=torch.bfloat16)
        t5 = torch.empty(1, 512, config["joint_attention_dim"], dtype=torch.bfloat16)
        pooled = torch.empty(1, config["pooled_projection_dim"], dtype=torch.bfloat16)
        sigma = torch.empty(1)

    def step() -> list[Tensor | None]:
        embeds = PromptEmbeds({"t5": t5, "pooled": pooled})
        (velocity_of(transformer, guidance=1.0)(noisy, sigma, embeds) - noisy).float().square().mean().backward()
        return [parameter.grad for parameter in transformer.parameters()]

    try:
        return counted(step)
    finally:
        detach(transformer)


def flux_dev() -> FluxTransformer2DModel:
    transformer = weightless_transformer()
    nn.Module.to(transformer, torch.bfloat16)
    return transformer


@pytest.mark.parametrize(
    ("pixels", "checkpointing", "tera", "gib"),
    [(512, False, 45.6, 6.4), (1024, False, 171.3, 18.9), (512, True, 67.1, 0.71), (1024, True, 245.9, 2.1)],
)
def test_a_step_of_flux_dev_takes_what_was_counted_on_its_architecture_before(pixels, checkpointing, tera, gib):
    def work(transformer: nn.Module) -> Count:
        assert isinstance(transformer, FluxTransformer2DModel)
        return step_of(transformer, pixels, rank=16, checkpointing=checkpointing)

    count = counted_by_block(flux_dev(), work)
    assert count.flops / TERA == pytest.approx(tera, rel=0.005)
    assert count.peak / GIB == pytest.approx(gib, rel=0.05)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_blocks_counted_by_kind_are_the_whole_model(checkpointing: bool):
    with torch.device("meta"):
        model = FluxTransformer2DModel(
            num_layers=3,
            num_single_layers=4,
            attention_head_dim=16,
            num_attention_heads=2,
            axes_dims_rope=(4, 6, 6),
            joint_attention_dim=32,
            pooled_projection_dim=32,
        )
    nn.Module.to(model.requires_grad_(False), torch.bfloat16)
    whole = step_of(model, 128, rank=4, checkpointing=checkpointing)

    def work(transformer: nn.Module) -> Count:
        assert isinstance(transformer, FluxTransformer2DModel)
        return step_of(transformer, 128, rank=4, checkpointing=checkpointing)

    by_kind = counted_by_block(model, work)
    assert by_kind.flops == whole.flops
    assert by_kind.peak == pytest.approx(whole.peak, rel=1e-3), "the gradients of one LoRA may share a storage or not"
    assert by_kind.kernels == pytest.approx(whole.kernels, rel=0.01)
    assert len(model.transformer_blocks) == 3


def test_what_is_counted_without_numbers_is_what_numbers_take():
    def work(device: str) -> Count:
        layers = nn.Sequential(*(nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 64)) for _ in range(3)))
        layers.to(device)
        rows = torch.zeros(100, 64, device=device)
        return counted(lambda: layers(rows).square().mean().backward())

    gc.collect()
    assert work("meta") == work("cpu")


def test_a_matrix_product_is_two_flops_for_each_pair():
    left, right = torch.empty(30, 40, device="meta"), torch.empty(40, 50, device="meta")
    count = counted(lambda: left @ right)
    assert (count.flops, count.peak, count.left, count.kernels) == (2 * 30 * 40 * 50, 30 * 50 * 4, 30 * 50 * 4, 1)
