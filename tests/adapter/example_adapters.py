"""A frozen tiny transformer and adapters that do something, the same each time."""

import torch
from diffusers import FluxTransformer2DModel
from torch import Generator, Tensor

from flux_lora.adapter.attach import attach
from flux_lora.adapter.layer_types import Adapter, LoRA, map_tensors
from flux_lora.config.choices import AdapterTargets
from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux1.velocity import velocity_of
from tests.tiny import TEXT_WIDTH, flux1_layers, tiny_transformer


def frozen_transformer(dtype: torch.dtype = torch.float32) -> FluxTransformer2DModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformer = tiny_transformer().requires_grad_(False).eval()
    return transformer if dtype is torch.float32 else transformer.to(dtype)


def learned(start: Adapter, size: float = 0.1, seed: int = 1) -> Adapter:
    """The adapter with an `up` as if it had been trained."""
    generator = Generator().manual_seed(seed)
    return Adapter(
        {
            name: LoRA(layer.down, size * torch.randn(layer.up.shape, generator=generator), layer.alpha)
            for name, layer in start.layers.items()
        }
    )


def learned_kind(start: Adapter, size: float = 0.1, seed: int = 1) -> Adapter:
    """An adapter of any kind with every tensor as if it had been trained; magnitudes by a share of what they are."""
    generator = Generator().manual_seed(seed)

    def moved(tensor: Tensor) -> Tensor:
        noise = size * torch.randn(tensor.shape, generator=generator)
        return tensor * (1 + noise) if tensor.ndim == 1 else tensor + noise

    return Adapter({name: map_tensors(delta, moved) for name, delta in start.deltas.items()})


def learned_adapter(
    rank: int = 4, alpha: float = 4.0, targets: AdapterTargets = AdapterTargets.attention_mlp
) -> Adapter:
    generator = Generator().manual_seed(0)
    transformer = frozen_transformer()
    layers = flux1_layers(transformer, targets)
    return learned(attach(transformer, layers, rank=rank, alpha=alpha, generator=generator))


@torch.inference_mode()
def answer(transformer: FluxTransformer2DModel) -> Tensor:
    """The velocity at one fixed point."""
    generator = Generator().manual_seed(2)
    text = PromptEmbeds(
        {
            "t5": torch.randn(1, 5, TEXT_WIDTH, generator=generator),
            "pooled": torch.randn(1, TEXT_WIDTH, generator=generator),
        }
    )
    noisy = torch.randn(1, 16, 4, 6, generator=generator)
    velocity = velocity_of(transformer, guidance=1.0)
    return velocity(noisy.to(transformer.dtype), torch.tensor([0.4]), text.to("cpu", transformer.dtype)).float()
