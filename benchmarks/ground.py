"""The ground that both steps stand on: a FLUX of random weights, samples for it, our step, and the page of results.

Speed and memory do not depend on what the weights are, so nothing has to be downloaded.

Shape letters: B batch, C latent channels, H W latent height and width, T text tokens, D text width, P pooled width.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import torch
from diffusers import FluxTransformer2DModel
from torch import Generator, Tensor, nn

from flux_lora.adapter.attach import attach, linear_layers, trainable_layers
from flux_lora.adapter.trainable import matching_layers
from flux_lora.config.choices import AdapterTargets, Quantization
from flux_lora.config.schema import TrainConfig
from flux_lora.data.batches import Batch, batches
from flux_lora.data.cache import EncodedSample
from flux_lora.flow.points import counted_draw
from flux_lora.flow.randomness import generator_for
from flux_lora.flow.sigmas import logit_normal
from flux_lora.models.family import PromptEmbeds
from flux_lora.models.flux1.layers import LAYER_GROUPS
from flux_lora.models.flux1.velocity import velocity_of
from flux_lora.models.frozen_linear import LAYERS
from flux_lora.models.mini import mini_folder
from flux_lora.train.learner import Learner
from flux_lora.train.loop import training_steps
from flux_lora.train.loss import flow_loss

Numbers = Mapping[str, int | bool | tuple[int, int, int]]
"""What tells one FLUX architecture from another, as diffusers' config.json names it."""

FLUX_DEV: Numbers = {
    "patch_size": 1,
    "in_channels": 64,
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "guidance_embeds": True,
    "axes_dims_rope": (16, 56, 56),
}
MINI: Numbers = {
    **FLUX_DEV,
    "num_layers": 1,
    "num_single_layers": 6,
    "attention_head_dim": 32,
    "num_attention_heads": 6,
    "joint_attention_dim": 128,
    "pooled_projection_dim": 128,
    "axes_dims_rope": (8, 12, 12),
}
NARROW: Numbers = {
    **FLUX_DEV,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "pooled_projection_dim": 32,
    "axes_dims_rope": (4, 6, 6),
}
"""FLUX.1-dev's 57 blocks, almost without arithmetic: what is left is the cost of asking for it."""

RANK = 16
TARGETS = AdapterTargets.attention
GUIDANCE = 1.0
LATENT_CHANNELS = 16
PIXELS_PER_LATENT = 8
PIXELS_PER_TOKEN = 16
SAMPLES = 8
SPREAD = 0.02
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Case:
    """One thing to measure."""

    numbers: Numbers
    pixels: int
    """Side of the square image."""
    text_tokens: int
    batch_size: int
    dtype: torch.dtype


class Way(Protocol):
    """One of the steps that are compared."""

    def loss(self) -> Tensor:
        """The loss of the next batch, with its graph."""
        ...

    def step(self) -> float:
        """One whole update, from the batch to the moved adapter. The loss."""
        ...


class OurStep:
    """The step of `flux-lora train`, taken through the package's own loop."""

    def __init__(self, transformer: FluxTransformer2DModel, case: Case, *, checkpointing: bool = False) -> None:
        """Attaches an adapter to the transformer."""
        config = TrainConfig(steps=1_000_000, batch_size=case.batch_size)
        layers = matching_layers(linear_layers(transformer), TARGETS, LAYER_GROUPS)
        start = attach(transformer, layers, rank=RANK, alpha=RANK, generator=generator_for(config.seed, 0, "adapter"))
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        predict = velocity_of(transformer, guidance=GUIDANCE)
        self._learner = Learner(predict, start, trainable_layers(transformer), config)
        self._draw = counted_draw(config.seed, logit_normal(config.logit_mean, config.logit_std))
        self._batches = sample_batches(case)
        self._steps = training_steps(self._learner, self._batches, self._draw)

    def loss(self) -> Tensor:
        """As in flux_lora.train.loop.train, stopped before the gradients."""
        place = self._learner.parameters[0]
        batch = next(self._batches).to(place.device, place.dtype)
        return flow_loss(self._learner.predict, batch, self._draw(batch.latents, 0)).mean()

    def step(self) -> float:
        """One item taken from the package's loop."""
        return next(self._steps).loss


def mini_numbers() -> Numbers:
    """The embedded base's architecture, read from its config where it is there."""
    file = mini_folder() / "transformer" / "config.json"
    if not file.is_file():
        return MINI
    found = json.loads(file.read_text(encoding="utf-8"))
    return {**{name: found[name] for name in MINI}, "axes_dims_rope": tuple(found["axes_dims_rope"])}


def random_flux(numbers: Numbers, dtype: torch.dtype, device: torch.device) -> FluxTransformer2DModel:
    """A frozen transformer whose weights are drawn where they will stay, in the dtype that they keep."""
    with torch.device("meta"):
        transformer = FluxTransformer2DModel.from_config(dict(numbers))
    assert isinstance(transformer, FluxTransformer2DModel), "a pair is returned only when asked for"
    assert not list(transformer.buffers()), "all that a FLUX holds is drawn below"
    nn.Module.to(transformer, dtype)
    transformer.to_empty(device=device)
    transformer.requires_grad_(False)
    generator = None if device.type == "meta" else Generator(device).manual_seed(0)
    for name, parameter in transformer.named_parameters():
        if parameter.ndim > 1:
            parameter.normal_(std=SPREAD, generator=generator)
        else:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    return transformer.eval()


def quantised(transformer: FluxTransformer2DModel, how: Quantization) -> FluxTransformer2DModel:
    """The same transformer with the linear layers of its blocks in so few bits, one after the other."""
    for name, layer in linear_layers(transformer).items():
        if re.fullmatch(LAYER_GROUPS["blocks_all"], name):
            frozen = LAYERS[how](layer.weight.data)
            frozen.register_parameter("bias", layer.bias)
            transformer.set_submodule(name, frozen)
            del layer.weight
    return transformer


def sample_batches(case: Case) -> Iterator[Batch]:
    """Batches without end, of made-up encoded samples, on the CPU as the cache gives them."""
    generator = Generator().manual_seed(7)
    side = case.pixels // PIXELS_PER_LATENT
    texts = [_text(case, generator) for _ in range(SAMPLES + 1)]
    latents = [torch.randn(LATENT_CHANNELS, side, side, generator=generator) for _ in texts[1:]]
    encoded = [
        EncodedSample(latent=latent, std=torch.zeros_like(latent), prompt_embeds=(text,), class_prompt_embeds=(text,))
        for latent, text in zip(latents, texts[1:], strict=True)
    ]
    return batches(encoded, texts[0], batch_size=case.batch_size, seed=0)


def _text(case: Case, generator: Generator) -> PromptEmbeds:
    t5 = torch.randn(1, case.text_tokens, int_of(case.numbers, "joint_attention_dim"), generator=generator)
    pooled = torch.randn(1, int_of(case.numbers, "pooled_projection_dim"), generator=generator)
    return PromptEmbeds({"t5": t5, "pooled": pooled})


def int_of(numbers: Numbers, name: str) -> int:
    """One of the architecture's whole numbers."""
    value = numbers[name]
    assert isinstance(value, int)
    return value


def described(case: Case) -> str:
    """The case in words, for a table's heading."""
    width = int_of(case.numbers, "attention_head_dim") * int_of(case.numbers, "num_attention_heads")
    blocks = f"{case.numbers['num_layers']} double + {case.numbers['num_single_layers']} single blocks"
    tokens = f"{(case.pixels // PIXELS_PER_TOKEN) ** 2} image + {case.text_tokens} text tokens"
    return f"{blocks} of width {width}, {tokens}, batch {case.batch_size}, base in {str(case.dtype).split('.')[-1]}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table: the first column to the left, numbers to the right."""
    rules = [":--", *("--:" for _ in columns[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in (columns, rules, *rows))


def today() -> str:
    """The date of a results file."""
    return datetime.now(UTC).date().isoformat()


def publish(page: str, program: str, machine: str) -> Path:
    """Write a page of results, named by the day, the kind of machine and the program."""
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{today()}-{machine}-{program}.md"
    file.write_text(page, encoding="utf-8")
    return file
