"""A training run small enough for a test: a tiny FLUX, four encoded images, a few steps."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from diffusers import FluxTransformer2DModel
from torch import Generator

from flux_lora.adapter.attach import attach, trainable_layers, without_adapter
from flux_lora.config.choices import AdapterKind, AdapterTargets
from flux_lora.config.schema import TrainConfig
from flux_lora.data.batches import Batch, batches
from flux_lora.data.cache import EncodedSample
from flux_lora.flow.points import counted_draw
from flux_lora.flow.sigmas import logit_normal
from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux1.velocity import velocity_of
from flux_lora.train.learner import Learner
from flux_lora.train.loop import Step, training_steps
from tests.adapter.example_adapters import frozen_transformer
from tests.tiny import TEXT_WIDTH, flux1_layers

CONFIG = TrainConfig(steps=8, learning_rate=1e-2, batch_size=2, warmup_steps=2)
TEXT_TOKENS = 5


@dataclass
class TinyRun:
    transformer: FluxTransformer2DModel
    learner: Learner
    config: TrainConfig

    def steps(self, start: int = 0) -> Iterator[Step]:
        draw, first = counted_draw(self.config.seed, logit_normal()), start * self.config.gradient_accumulation_steps
        return training_steps(self.learner, tiny_batches(self.config, first), draw, start=start)


def tiny_run(
    dtype: torch.dtype = torch.float32,
    config: TrainConfig = CONFIG,
    rank: int = 4,
    kind: AdapterKind = AdapterKind.lora,
) -> TinyRun:
    transformer = frozen_transformer(dtype)
    generator = Generator().manual_seed(config.seed)
    layers = flux1_layers(transformer, AdapterTargets.attention_mlp)
    start = attach(transformer, layers, rank=rank, alpha=4.0, generator=generator, kind=kind)
    predict = velocity_of(transformer, guidance=1.0)
    base = without_adapter(transformer, predict)
    return TinyRun(transformer, Learner(predict, start, trainable_layers(transformer), config, base=base), config)


def tiny_batches(config: TrainConfig = CONFIG, start: int = 0) -> Iterator[Batch]:
    """Two upright and two square images, so that two buckets take turns."""
    generator = Generator().manual_seed(7)
    encoded = [_encoded(torch.randn(16, height, 4, generator=generator), _text(generator)) for height in (6, 4, 6, 4)]
    return batches(encoded, _text(generator), batch_size=config.batch_size, seed=config.seed, start=start)


def _encoded(latent: torch.Tensor, text: PromptEmbeds) -> EncodedSample:
    return EncodedSample(
        latent=latent, std=torch.zeros_like(latent), prompt_embeds=(text,), class_prompt_embeds=(text,)
    )


def _text(generator: Generator) -> PromptEmbeds:
    t5 = torch.randn(1, TEXT_TOKENS, TEXT_WIDTH, generator=generator)
    return PromptEmbeds({"t5": t5, "pooled": torch.randn(1, TEXT_WIDTH, generator=generator)})
