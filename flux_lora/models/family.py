"""What the rest of the code knows of a model family: prompt embeds, latents, a velocity, and one protocol for the rest.

A family is a package beside this file and a row in registry.py; sizes that differ in their layers (FLUX.2 klein 4B, 9B,
dev) are a row each. Nothing outside `models/` and the adapter's key tables and loaders asks which family it is.

Shape letters: B batch, C latent channels, H W latent height and width.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from flux_lora.config.choices import Quantization
from flux_lora.models.programs import Programs, Release

if TYPE_CHECKING:
    from PIL import Image
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class ModelSource:
    """Where a base is, and how long its prompt embeds are."""

    path: str
    """The embedded base's name, a folder, or a hub id."""
    revision: str = ""
    """Of a hub id; empty takes its main branch."""
    max_sequence_length: int = 512
    """Tokens of the prompt embeds: of all of them, or of the longest window where each has its own."""
    transformer: str = ""
    """A file that holds the transformer; empty takes that of `path`. The same goes for what follows."""
    vae: str = ""
    text_encoder: str = ""
    text_encoder_2: str = ""


@dataclass(frozen=True)
class Placement:
    """Where a transformer is kept, and in what."""

    device: torch.device
    dtype: torch.dtype
    """What it computes in."""
    quantize: Quantization = Quantization.none
    """What the linear layers of its blocks are kept in."""
    offload_modulation: bool = False
    """Whether those that depend on sigma, guidance and pooled text alone wait in host memory."""


@dataclass(frozen=True)
class PromptEmbeds:
    """Prompt embeddings by name, each with the batch first. One caption is a batch of one.

    FLUX.1 has a sequence and a pooled vector, FLUX.2 the stacked layers of one decoder, FLUX.3 positions beside them.
    """

    tensors: Mapping[str, Tensor]  # each B..., sequences BT...

    @property
    def window(self) -> int:
        """Tokens of the sequence, padding among them: it is attended to, so only equal windows share a batch."""
        return max(tensor.shape[1] for tensor in self.tensors.values() if tensor.dim() > 2)

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __len__(self) -> int:
        """Captions."""
        return len(next(iter(self.tensors.values())))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "PromptEmbeds":
        """The same elsewhere; what is not floating point (positions, ids) keeps its dtype."""
        return PromptEmbeds(
            {
                name: tensor.to(
                    device, dtype if tensor.is_floating_point() else tensor.dtype, non_blocking=tensor.is_pinned()
                )
                for name, tensor in self.tensors.items()
            }
        )

    def pinned(self) -> "PromptEmbeds":
        """The same in page-locked memory, from which a GPU copies beside its work."""
        return PromptEmbeds({name: tensor.pin_memory() for name, tensor in self.tensors.items()})

    def rows(self, rows: Sequence[int]) -> "PromptEmbeds":
        """Some of the captions, in this order, repeated where a number is."""
        return PromptEmbeds({name: tensor[list(rows)] for name, tensor in self.tensors.items()})


def stack_prompt_embeds(embeds: Sequence[PromptEmbeds]) -> PromptEmbeds:
    """Several as one batch, in order."""
    windows = {each.window for each in embeds}
    assert len(windows) == 1, f"padding is attended to, so windows of {sorted(windows)} tokens do not share a batch"
    return PromptEmbeds({name: torch.cat([each[name] for each in embeds]) for name in embeds[0].tensors})


@dataclass(frozen=True)
class SampleRequest:
    """Images that are sampled together: one for each caption and seed."""

    prompt_embeds: PromptEmbeds
    seeds: Sequence[int]
    """Of the noise, which is drawn on the CPU."""
    references: tuple[Tensor, ...] = ()  # each 1CHW, of any size
    """What all of them are made from, for an edit."""


@dataclass(frozen=True)
class LatentDistribution:
    """The VAE's latent distribution in the transformer's units: a normal distribution for each number.

    A family whose VAE is only ever used by its mode gives a std of zeros.
    """

    mean: Tensor  # BCHW
    std: Tensor  # BCHW


class Velocity(Protocol):
    """(noisy BCHW, sigma B, prompt embeds) -> velocity BCHW: noise minus data.

    `references` are latents BCHW of images that the prediction is conditioned on, of any size, for families that take
    them; of one image they are the same for all of the batch.
    """

    def __call__(
        self, noisy: Tensor, sigma: Tensor, prompt_embeds: PromptEmbeds, /, *, references: Sequence[Tensor] = ()
    ) -> Tensor: ...


EncodeImage = Callable[[Tensor], LatentDistribution]
"""pixels B3HW in [-1, 1] -> latents BCHW"""
EncodeCaption = Callable[[str], PromptEmbeds]
"""caption -> prompt embeds, a batch of one"""


@dataclass(frozen=True)
class Encoders:
    """VAE encoder and text encoders of a base. Each is loaded only when it is opened."""

    image_fingerprint: str
    """Changes whenever the same pixels would become other latents."""
    open_image_encoder: Callable[[], EncodeImage]
    caption_fingerprint: str
    """Changes whenever the same caption would become other prompt embeds; the sequence length is part of it."""
    open_caption_encoder: Callable[[], EncodeCaption]
    pixels_per_latent: int
    """Pixels per side of one latent pixel: masks are averaged to it."""


@dataclass(frozen=True)
class CaptionTokenizer:
    """One tokenizer of a base, and what it truncates."""

    name: str
    """What messages and pages call it."""
    tokenizer: "PreTrainedTokenizerBase"
    limit: int
    """Tokens that are kept, start and end marks among them."""
    decisive: bool
    """Whether no other text encoder reads what this one truncates."""
    around: int = 0
    """Tokens of the message that a caption is put into."""
    window_step: int = 0
    """Prompt embeds are as long as the next multiple of so many tokens; 0 where all are equally long."""


@dataclass(frozen=True)
class Pipeline:
    """A base that renders: transformer (with or without an adapter in it), VAE and sampling schedule."""

    family: "ModelFamily"
    transformer: nn.Module
    vae: nn.Module
    scheduler: object
    negative: PromptEmbeds | None = None
    """Of the empty prompt, one row, where the family uses real classifier-free guidance."""


@dataclass(frozen=True, kw_only=True)
class Weightless:
    """A base on the meta device: what its memory and work are counted on."""

    transformer: nn.Module
    vae: nn.Module
    text_encoders: tuple[nn.Module, ...]
    prompt_embeds: PromptEmbeds
    """Of one caption."""
    latent_channels: int
    encode_image: Callable[[Tensor], object]
    """pixels B3HW -> latents, by the VAE above"""
    decode_latents: Callable[[Tensor], object]
    """latents BCHW -> pixels"""
    encode_caption: Callable[[], object]
    """The largest text encoder on one caption."""


LayerGroups = Mapping[str, str]
"""Name of a group of layers (adapter.targets) -> pattern that matches the whole names of its linear layers."""
Shapes = Mapping[str, tuple[int, int]]
"""Outputs and inputs of each linear layer, by module name."""


class ModelFamily(Protocol):
    """Everything that is true of one model family and of no other."""

    @property
    def name(self) -> str:
        """What messages call it: FLUX.1."""
        ...

    @property
    def pixels_per_latent(self) -> int:
        """Pixels per side of one latent pixel."""
        ...

    @property
    def pixels_per_token(self) -> int:
        """Pixels per side of one image token; sizes are multiples of it."""
        ...

    @property
    def layer_groups(self) -> LayerGroups:
        """The linear layers that a LoRA may change, by group."""
        ...

    @property
    def modulation(self) -> str:
        """Pattern of the linear layers that depend on sigma, guidance and pooled text alone."""
        ...

    @property
    def unused_in_training(self) -> str:
        """Pattern of module names that text-to-image training never reads; empty where there are none."""
        ...

    @property
    def programs(self) -> Programs:
        """How other programs name it."""
        ...

    def release_like(self, name: str) -> Release:
        """The release that another base of this family, by its name, was made from."""
        ...

    def linear_shapes(self) -> Shapes:
        """The linear layers of the released model, without loading it."""
        ...

    def adapted_modules(self) -> Collection[str]:
        """Every module that an adapter may change, by each name that it has: diffusers', and of fused weights."""
        ...

    def recognises(self, source: ModelSource) -> bool:
        """Whether a base on this disk is of this family."""
        ...

    def transformer_place(self, source: ModelSource) -> Path:
        """The folder or file of the transformer on this disk, fetched if need be."""
        ...

    def load_tokenizers(self, source: ModelSource) -> tuple[CaptionTokenizer, ...]:
        """The tokenizers alone: enough to count tokens. Raises ModelError where they cannot be had."""
        ...

    def encoders(
        self, source: ModelSource, *, device: torch.device, text_device: torch.device, dtype: torch.dtype
    ) -> Encoders:
        """The base's encoders; nothing is loaded yet. The VAE computes on `device` in float32, text encoders on
        `text_device` in `dtype`."""
        ...

    def load_transformer(self, source: ModelSource, placement: Placement) -> nn.Module:
        """The transformer, frozen."""
        ...

    def load_pipeline(self, source: ModelSource, placement: Placement) -> Pipeline:
        """The parts that render, frozen. The VAE is float32, whatever the transformer is."""
        ...

    def checkpoint_activations(self, transformer: nn.Module) -> None:
        """Trade time for memory: activations are computed again in the backward pass."""
        ...

    def velocity(self, transformer: nn.Module, *, guidance: float) -> Velocity:
        """The transformer as a function of image-shaped tensors. `guidance` is the embedded one, if there is any."""
        ...

    @property
    def most_references(self) -> int:
        """How many images a prediction may be conditioned on, beside the one that is drawn; 0 where it takes none."""
        ...

    @property
    def trained_instead(self) -> str:
        """The model= recipe to train on where this base is distilled to few steps, which training would undo; empty
        where it is not."""
        ...

    @property
    def uses_cfg(self) -> bool:
        """Whether guidance is real classifier-free guidance, against the empty prompt, and not embedded."""
        ...

    def sampling_shift(self, scheduler: object, *, width: int, height: int, steps: int) -> float:
        """How far the schedule of so many steps moves sigmas towards noise at this size; see flow.sigmas.shifted."""
        ...

    def training_shift(self, scheduler: object, *, width: int, height: int) -> float:
        """How far sigmas are moved towards noise in training at this size in pixels; see flow.sigmas.shifted."""
        ...

    def sample(
        self,
        pipeline: Pipeline,
        request: SampleRequest,
        *,
        size: tuple[int, int],
        steps: int,
        guidance: float,
    ) -> Tensor:
        """Latents BCHW of what is asked for, as the family's own pipeline samples them.

        `size` is width and height in pixels. Noise is drawn on the CPU from each image's own seed.
        """
        ...

    def decode(self, vae: nn.Module, latents: Tensor) -> "list[Image.Image]":
        """Latents BCHW -> images."""
        ...

    def weightless_transformer(self) -> nn.Module:
        """The released transformer on the meta device: every module that a file can name, and no memory."""
        ...

    def weightless_base(self, source: ModelSource) -> Weightless:
        """All parts of a base on the meta device: of the one on this disk, else of the released one."""
        ...

    def loads_in_diffusers(self, dialect: str, names: Collection[str], shapes: Shapes) -> bool:
        """Whether diffusers can load a LoRA of these modules, in this dialect, into a transformer of these shapes."""
        ...

    def load_lora_file(self, transformer: nn.Module, file: Path, adapter_name: str) -> Mapping[str, Tensor]:
        """Load a LoRA file as a user of diffusers would; returns diffusers' converted state dict of it."""
        ...

    def velocity_at_fixed_point(self, transformer: nn.Module) -> Tensor:
        """The velocity BCHW at one random point that is always the same: what a change of weights is seen by."""
        ...
