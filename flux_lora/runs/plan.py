"""What a run will take, counted before it starts: memory by stage, work, and time on the cards that people have.

No weights and no GPU are needed: the base, its adapter and a step with its backward pass run on the meta device, and
what is alive at one time is added up (models/counting.py). Activations are those of one step on the largest size.

Shape letters: B batch, C latent channels, H W latent height and width.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Generator, Tensor, nn

from flux_lora.adapter.attach import attach, detach, linear_layers
from flux_lora.adapter.fresh import numbers_in
from flux_lora.adapter.trainable import trained_ranks
from flux_lora.config.choices import OptimizerName, OutsideMask, Quantization
from flux_lora.config.schema import RunConfig
from flux_lora.models.counting import Count, bytes_of, counted, counted_by_block
from flux_lora.models.device import DTYPES
from flux_lora.models.family import ModelFamily, ModelSource, PromptEmbeds, Weightless
from flux_lora.models.frozen_linear import quantized_bytes
from flux_lora.render.pipeline import PIXELS_AT_ONCE

GIB = 2**30
CONTEXT = 0.7 * GIB
"""What CUDA, cuBLAS and kernels take before the first tensor."""
SPARE = 0.03
"""Share of a card that is left alone: the allocator's gaps."""
OPTIMIZER_BYTES: Mapping[OptimizerName, int] = {
    OptimizerName.adamw: 16, OptimizerName.adamw8bit: 10, OptimizerName.adafactor: 8, OptimizerName.muon: 12,
    OptimizerName.lion: 12, OptimizerName.prodigy: 24,
}  # fmt: skip
"""For each number trained: a float32 master and gradient, and the optimizer's state. AdamW has two moments, in float32
or in 8 bits; Adafactor a row and a column of each tensor, which count for nothing; Muon and Lion one; Prodigy four."""
REACHED = 0.4
"""Share of a card's arithmetic that a step of this kind reaches. Taken from published runs, not measured here."""
CARDS: Mapping[str, tuple[float, float]] = {
    "RTX 4060": (8, 60), "RTX 3060": (12, 51), "RTX 4060 Ti": (16, 88), "RTX 3090": (24, 71), "RTX 4090": (24, 165),
    "RTX 5090": (32, 209), "A6000": (48, 155), "L40S": (48, 362), "A100": (80, 312), "H100": (80, 790),
}  # fmt: skip
"""Name -> GiB, and TFLOP/s of dense bf16 products with float32 sums, as published."""


@dataclass(frozen=True)
class Way:
    """How the base is kept, and whether activations are computed again."""

    quantize: Quantization = Quantization.none
    offload_modulation: bool = False
    gradient_checkpointing: bool = False

    @property
    def overrides(self) -> tuple[str, ...]:
        """As settings of a command."""
        values = {"quantize": self.quantize.value} | {
            name: str(on).lower()
            for name, on in (
                ("offload_modulation", self.offload_modulation),
                ("gradient_checkpointing", self.gradient_checkpointing),
            )
        }
        return tuple(f"hardware.{name}={value}" for name, value in values.items())

    def __str__(self) -> str:
        """In words."""
        words = ["whole base" if self.quantize is Quantization.none else self.quantize.value]
        words += ["modulation offloaded"] * self.offload_modulation + ["checkpointing"] * self.gradient_checkpointing
        return ", ".join(words)


WAYS = (
    Way(),
    Way(Quantization.int8),
    Way(Quantization.int8, offload_modulation=True),
    Way(gradient_checkpointing=True),
    Way(Quantization.int8, gradient_checkpointing=True),
    Way(gradient_checkpointing=True, offload_modulation=True),
    Way(Quantization.int8, gradient_checkpointing=True, offload_modulation=True),
    Way(Quantization.nf4, gradient_checkpointing=True),
    Way(Quantization.nf4, gradient_checkpointing=True, offload_modulation=True),
)
"""The fastest first. Computing activations again costs 44 % at 1024 x 1024, int8 the making of 16-bit weights, and
modulation in host memory a copy of it for each pass; nf4 is as fast as int8, and last because it is far coarser."""


@dataclass(frozen=True)
class Stage:
    """What is in memory at one time."""

    name: str
    parts: Mapping[str, float]
    """Bytes on the GPU by what they are for."""

    @property
    def bytes(self) -> float:
        """Of all."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class Plan:
    """One way to do a run."""

    way: Way
    stages: tuple[Stage, ...]
    flops: float
    """Of a step, the question that preserves included."""
    text_encoders: float
    """Bytes. Captions are encoded before anything else; where this does not fit, from host memory."""

    @property
    def peak(self) -> Stage:
        """The stage that takes most."""
        return max(self.stages, key=lambda stage: stage.bytes)

    def fits(self, card_gib: float) -> bool:
        """Whether a card of so many GiB holds every stage."""
        return self.peak.bytes <= usable(card_gib)

    def encodes_text_on_cpu(self, card_gib: float) -> bool:
        """Whether the text encoders are too large for such a card."""
        return self.text_encoders > usable(card_gib)

    def stage(self, name: str) -> Stage:
        """The stage of this name: encode, train, sample or decode."""
        return next(stage for stage in self.stages if stage.name == name)

    def seconds_per_step(self, tflops: float) -> float:
        """On a card of this rate."""
        return self.flops / (tflops * 1e12 * REACHED)


@dataclass(frozen=True)
class TrainedLayer:
    """A linear layer that gets a delta."""

    name: str
    rank: int
    numbers: int
    """Numbers that are trained."""


def usable(card_gib: float) -> float:
    """Bytes of a card that may be filled."""
    return card_gib * GIB * (1 - SPARE)


@dataclass(frozen=True)
class Planner:
    """A recipe's work on the meta device; each thing is counted once."""

    config: RunConfig
    family: ModelFamily
    base: Weightless

    def plan(self, way: Way) -> Plan:
        """The stages of a run that is done in this way."""
        step = self.steps[way.gradient_checkpointing]
        held = {
            "base": self._weights(way),
            "context": CONTEXT,
            "adapter": float(self.trained * self._dtype.itemsize),
            "optimizer": float(self.trained * OPTIMIZER_BYTES[self.config.train.optimizer]),
        }
        stages = (
            Stage("encode", {"VAE": self._vae, "context": CONTEXT, "activations": self._encoding.peak}),
            Stage("train", {**held, "weight": self._largest_weight(way), "activations": step.peak}),
            *self._images(way, held),
        )
        train = self.config.train
        asked = 1 / train.preservation_every if train.preservation else 0
        batches = train.gradient_accumulation_steps
        flops = step.flops * (batches + asked) + self._answers.flops * batches
        return Plan(way, stages, flops, self._text_encoders)

    def rendering(self, way: Way, adapted: int) -> Plan:
        """Images alone, of a base with so many numbers of an adapter in it; the work is that of a pass."""
        held = {"base": self._weights(way), "context": CONTEXT, "adapter": float(adapted * self._dtype.itemsize)}
        return Plan(way, self._images(way, held), self._image.flops, self._text_encoders)

    def _images(self, way: Way, held: Mapping[str, float]) -> tuple[Stage, Stage]:
        """Sampling beside what is held, and decoding."""
        return (
            Stage("sample", {**held, "weight": self._largest_weight(way), "activations": self._image.peak}),
            Stage("decode", {**held, "VAE": self._vae, "activations": self._decoding.peak}),
        )

    @property
    def _vae(self) -> float:
        return float(bytes_of(self.base.vae))

    @property
    def _text_encoders(self) -> float:
        """Bytes of encoding captions."""
        return float(sum(bytes_of(part) for part in self.base.text_encoders)) + self._caption.peak + CONTEXT

    @property
    def trains_modulation(self) -> bool:
        """Whether the adapter changes layers that could otherwise wait in host memory."""
        modulation = self.family.modulation
        return any(re.fullmatch(modulation, name) for name in self._ranks(self.base.transformer))

    @property
    def _dtype(self) -> torch.dtype:
        return DTYPES[self.config.hardware.dtype]

    def _weights(self, way: Way) -> float:
        """Bytes of the base that stay on the GPU."""
        model, blocks = self.base.transformer, self.family.layer_groups["blocks_all"]
        unused = "" if self.config.data.edits else self.family.unused_in_training
        away = (unused, self.family.modulation if way.offload_modulation else "")
        stays = "".join(rf"(?!(?:{pattern})$)" for pattern in away if pattern) + ".*"
        return quantized_bytes(model, blocks, way.quantize, self._dtype, counted=stays)

    def _largest_weight(self, way: Way) -> float:
        """Bytes of the largest weight that is made whole, or brought from the host, for one product."""
        made_whole = self.family.layer_groups["blocks_all"] if way.quantize is not Quantization.none else r"(?!)"
        brought = self.family.modulation if way.offload_modulation else r"(?!)"
        linears = linear_layers(self.base.transformer).items()
        sizes = [each.weight.numel() for name, each in linears if re.fullmatch(f"{made_whole}|{brought}", name)]
        return float(max(sizes, default=0) * self._dtype.itemsize)

    @cached_property
    def _caption(self) -> Count:
        return counted(self.base.encode_caption)

    @cached_property
    def _encoding(self) -> Count:
        side = self._largest_side
        return counted(lambda: self.base.encode_image(_meta(1, 3, side, side)))

    @cached_property
    def _decoding(self) -> Count:
        side = self._rendered_side // self.family.pixels_per_latent
        return counted(lambda: self.base.decode_latents(_meta(1, self.base.latent_channels, side, side)))

    @cached_property
    def _image(self) -> Count:
        """One pass of the sampler, with as many images as share it."""
        side = self._rendered_side
        at_once = max(1, PIXELS_AT_ONCE // side**2)

        def work(transformer: nn.Module) -> Count:
            velocity = self.family.velocity(transformer, guidance=self.config.model.render_guidance)
            noisy, embeds, references = self._question(at_once, side)
            with torch.no_grad():
                return counted(lambda: velocity(noisy, _meta(at_once), embeds, references=references))

        return counted_by_block(self.base.transformer, work)

    @cached_property
    def _answers(self) -> Count:
        """The base's own, outside of masks."""
        if self.config.data.outside_mask is OutsideMask.photo:
            return Count(0, 0, 0, 0)

        def work(transformer: nn.Module) -> Count:
            velocity = self.family.velocity(transformer, guidance=self.config.model.train_guidance)
            noisy, embeds, references = self._question(self.config.train.batch_size, self._largest_side)
            with torch.no_grad():
                return counted(lambda: velocity(noisy, _meta(len(noisy)), embeds, references=references))

        return counted_by_block(self.base.transformer, work)

    @cached_property
    def steps(self) -> Mapping[bool, Count]:
        """A step without checkpointing, and with it."""
        return {False: self._step(checkpointing=False), True: self._step(checkpointing=True)}

    def _step(self, *, checkpointing: bool) -> Count:
        """Forward and backward."""
        config = self.config

        def work(transformer: nn.Module) -> Count:
            rank, alpha, kind = config.adapter.rank, config.adapter.alpha, config.adapter.kind
            attach(transformer, self._ranks(transformer), rank=rank, alpha=alpha, generator=Generator(), kind=kind)
            if checkpointing:
                self.family.checkpoint_activations(transformer)
            velocity = self.family.velocity(transformer, guidance=config.model.train_guidance)
            noisy, embeds, references = self._question(config.train.batch_size, self._largest_side)

            def step() -> list[Tensor | None]:
                error = velocity(noisy, _meta(len(noisy)), embeds, references=references) - noisy
                error.float().square().mean().backward()
                return [parameter.grad for parameter in transformer.parameters()]

            try:
                return counted(step)
            finally:
                detach(transformer)

        return counted_by_block(self.base.transformer, work)

    def _ranks(self, transformer: nn.Module) -> dict[str, int]:
        """Of the layers that get a delta."""
        return trained_ranks(linear_layers(transformer), self.config.adapter, self.family)

    @cached_property
    def layers(self) -> Sequence[TrainedLayer]:
        """The layers that are trained."""
        linears, kind = linear_layers(self.base.transformer), self.config.adapter.kind
        sides = {name: (each.out_features, each.in_features) for name, each in linears.items()}
        ranks = self._ranks(self.base.transformer)
        return [TrainedLayer(name, rank, numbers_in(kind, sides[name], rank)) for name, rank in ranks.items()]

    @property
    def trained(self) -> int:
        """Numbers in the adapter."""
        return sum(layer.numbers for layer in self.layers)

    def _question(self, count: int, side: int) -> tuple[Tensor, PromptEmbeds, tuple[Tensor, ...]]:
        """Latents BCHW and prompt embeds of so many images; of an edit, what each is made from: one image of its size,
        since how many there are is not known before they are read."""
        latent = side // self.family.pixels_per_latent
        embeds = self.base.prompt_embeds.rows([0] * count).to("meta", self._dtype)
        noisy = _meta(count, self.base.latent_channels, latent, latent, dtype=self._dtype)
        return noisy, embeds, (noisy,) if self.config.data.edits else ()

    @property
    def _largest_side(self) -> int:
        return max(self.config.data.resolution, *self.config.data.more_resolutions, 1)

    @property
    def _rendered_side(self) -> int:
        data = self.config.data
        return data.resolution if data.edits else max(self.config.preview.size, data.resolution)


def planner_for(config: RunConfig, family: ModelFamily, source: ModelSource) -> Planner:
    """What plans a recipe; its base need not be on this machine."""
    base, dtype = family.weightless_base(source), DTYPES[config.hardware.dtype]
    for part in (base.transformer, *base.text_encoders):
        nn.Module.to(part, dtype)
    return Planner(config, family, base)


def _meta(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(*shape, device="meta", dtype=dtype)
