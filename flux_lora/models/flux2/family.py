"""FLUX.2 as model families: klein, a row for each size, as a base and distilled to four steps; and dev.

What needs diffusers is imported where it is used: `check` asks for tokenizers and shapes only, and starts quickly.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from flux_lora.models.family import (
    CaptionTokenizer,
    EncodeImage,
    Encoders,
    Pipeline,
    Placement,
    PromptEmbeds,
    SampleRequest,
    Shapes,
    Velocity,
    Weightless,
)
from flux_lora.models.family import ModelSource as Source
from flux_lora.models.flux2.layers import (
    DEV,
    KLEIN_4B,
    KLEIN_9B,
    LAYER_GROUPS,
    MODULATION,
    PIXELS_PER_LATENT,
    TEXT_LAYERS,
    Size,
    flux2_shapes,
)
from flux_lora.models.flux2.programs import (
    BASE_4B,
    BASE_9B,
    DEV_PIPELINE,
    DEV_RELEASE,
    DISTILLED_4B,
    DISTILLED_9B,
    programs_of,
)
from flux_lora.models.flux2.single_file import open_fitting_file
from flux_lora.models.flux2.text_models import MISTRAL3, QWEN3, TextModel, counting_tokenizer, tokens_around
from flux_lora.models.pipeline_folder import INDEX, local_folder, part_folder, part_settings
from flux_lora.models.programs import Programs, Release

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, kw_only=True)
class Flux2:
    """See models.family.ModelFamily."""

    name: str
    size: Size
    text: TextModel
    release: Release
    programs: Programs
    trained_instead: str = ""
    most_references: int = 10
    pixels_per_latent: int = PIXELS_PER_LATENT
    pixels_per_token: int = PIXELS_PER_LATENT
    layer_groups: Mapping[str, str] = field(default_factory=lambda: LAYER_GROUPS)
    modulation: str = MODULATION
    unused_in_training: str = ""

    @property
    def distilled(self) -> bool:
        """Whether it draws in four steps, without guidance."""
        return bool(self.trained_instead)

    @property
    def uses_cfg(self) -> bool:
        """Klein's bases do; what was distilled from them has no use for it, and dev's guidance is embedded."""
        return not self.distilled and not self.size.guidance_embeds

    def release_like(self, name: str) -> Release:  # noqa: ARG002
        """The only one of this row."""
        return self.release

    def linear_shapes(self) -> Shapes:
        """Those of this size."""
        return flux2_shapes(self.size)

    def adapted_modules(self) -> Collection[str]:
        """diffusers' layers."""
        return self.linear_shapes()

    def recognises(self, source: Source) -> bool:
        """By the hub id; else by the class that model_index.json names, whether it is distilled, and its width."""
        if source.path == self.release.hub:
            return True
        folder = local_folder(source.path)
        try:
            index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            if index["_class_name"] != self.programs.diffusers_pipeline or self.size is DEV:
                return index["_class_name"] == self.programs.diffusers_pipeline
            config = json.loads((folder / "transformer" / "config.json").read_text(encoding="utf-8"))
            large = config["joint_attention_dim"] == TEXT_LAYERS * KLEIN_9B.text_width
            size, distilled = KLEIN_9B if large else KLEIN_4B, bool(index.get("is_distilled", False))
            return (size, distilled) == (self.size, self.distilled)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def transformer_place(self, source: Source) -> Path:
        """The file that is named, else transformer/ of the pipeline."""
        return self._own_file(source) or part_folder(source.path, "transformer", source.revision)

    def _own_file(self, source: Source) -> Path | None:
        """The file that is named, if one is. Raises ModelError where it is of another size than the base."""
        if not source.transformer:
            return None
        text = part_settings(source.path, "text_encoder", self.text.settings(self.size))
        return open_fitting_file(source.transformer, text.get("text_config", text)["hidden_size"]).file

    def load_tokenizers(self, source: Source) -> tuple[CaptionTokenizer, ...]:
        """The text encoder's. The words around a caption take some of the window."""
        tokenizer = counting_tokenizer(self.text, source.path)
        kept = source.max_sequence_length - tokens_around(self.text, tokenizer)
        return (CaptionTokenizer(self.text.name, tokenizer, kept, decisive=True),)

    def encoders(
        self, source: Source, *, device: torch.device, text_device: torch.device, dtype: torch.dtype
    ) -> Encoders:
        """VAE and text encoder. Raises ModelError where a file is not what it is given as."""
        from flux_lora.models.flux2.latents import latent_distribution
        from flux_lora.models.flux2.load import load_text_encoder, load_vae
        from flux_lora.models.flux2.part_files import refuse_unknown_files, text_digest, vae_digest
        from flux_lora.models.flux2.text import encode_text
        from flux_lora.models.flux2.weightless import check_files

        self._own_file(source)

        def open_image_encoder() -> EncodeImage:
            vae = load_vae(source, device=device)
            return lambda pixels: latent_distribution(vae, pixels)

        def open_caption_encoder() -> Callable[[str], PromptEmbeds]:
            encoder = load_text_encoder(self.text, source, dtype, device=text_device, computes_on=device)
            return lambda caption: encode_text(encoder, [caption], source.max_sequence_length)

        refuse_unknown_files(self.text, source)
        check_files(self.size, self.text, source)
        weights = text_digest(source)
        return Encoders(
            image_fingerprint=vae_digest(source),
            open_image_encoder=open_image_encoder,
            caption_fingerprint=sha256(f"{weights}|{source.max_sequence_length}|{dtype}".encode()).hexdigest(),
            open_caption_encoder=open_caption_encoder,
            pixels_per_latent=self.pixels_per_latent,
        )

    def load_transformer(self, source: Source, placement: Placement) -> nn.Module:
        """Flux2Transformer2DModel."""
        from flux_lora.models.flux2.load import load_transformer

        self._own_file(source)
        return load_transformer(source, placement)

    def load_pipeline(self, source: Source, placement: Placement) -> Pipeline:
        """Transformer, flow-matching Euler schedule, and the VAE (float32), which waits in host memory."""
        from flux_lora.models.flux2.load import load_scheduler, load_vae

        return Pipeline(
            family=self,
            transformer=self.load_transformer(source, placement),
            vae=load_vae(source),
            scheduler=load_scheduler(source),
        )

    def checkpoint_activations(self, transformer: nn.Module) -> None:
        """Block by block."""
        cast(Any, transformer).enable_gradient_checkpointing()

    def velocity(self, transformer: nn.Module, *, guidance: float) -> Velocity:
        """Only dev has embedded guidance."""
        from flux_lora.models.flux2.velocity import velocity_of

        return velocity_of(cast(Any, transformer), guidance=guidance)

    def sampling_shift(self, scheduler: object, *, width: int, height: int, steps: int) -> float:  # noqa: ARG002
        """Of the pipelines' schedule, which depends on the steps too."""
        from flux_lora.models.flux2.sampling import sampling_shift

        return sampling_shift(width, height, steps)

    def training_shift(self, scheduler: object, *, width: int, height: int) -> float:  # noqa: ARG002
        """FLUX.1's own line, not that of a schedule of few steps."""
        from flux_lora.models.flux2.sampling import training_shift

        return training_shift(width, height)

    def sample(
        self,
        pipeline: Pipeline,
        request: SampleRequest,
        *,
        size: tuple[int, int],
        steps: int,
        guidance: float,
    ) -> Tensor:
        """By diffusers' own pipeline, with real classifier-free guidance where the base has it."""
        from flux_lora.models.flux2.sampling import pipeline_of, sample_with_pipeline

        sampler = pipeline_of(cast(Any, pipeline.transformer), cast(Any, pipeline.scheduler), distilled=self.distilled)
        return sample_with_pipeline(sampler, (request, pipeline.negative), size=size, steps=steps, guidance=guidance)

    def decode(self, vae: nn.Module, latents: Tensor) -> "list[Image.Image]":
        """By the VAE's decoder, which is where the latents are for that long, and diffusers' image processor."""
        from flux_lora.models.flux2.latents import decode_latents
        from flux_lora.models.pipeline_parts import decode_images

        opened = cast(Any, vae)
        return decode_images(opened, lambda each: decode_latents(opened, each), latents)

    def weightless_transformer(self) -> nn.Module:
        """The released one's."""
        from flux_lora.models.flux2.weightless import weightless_transformer

        return weightless_transformer(self.size)

    def weightless_base(self, source: Source) -> Weightless:
        """As the configs on this disk say, else the released one's."""
        from flux_lora.models.flux2.weightless import weightless_base

        self._own_file(source)
        return weightless_base(self.size, self.text, source)

    def loads_in_diffusers(self, dialect: str, names: Collection[str], shapes: Shapes) -> bool:  # noqa: ARG002
        """Not what is outside of the transformer."""
        return all(name in shapes for name in names)

    def load_lora_file(self, transformer: nn.Module, file: Path, adapter_name: str) -> Mapping[str, Tensor]:
        """By load_lora_weights of the pipeline."""
        from flux_lora.models.flux2.diffusers_lora import load_lora_file

        return load_lora_file(cast(Any, transformer), file, adapter_name)

    def velocity_at_fixed_point(self, transformer: nn.Module) -> Tensor:
        """At sigma 0.7."""
        from flux_lora.models.flux2.diffusers_lora import velocity_at_fixed_point

        return velocity_at_fixed_point(cast(Any, transformer))


QWEN_4B, QWEN_8B = "qwen_3_4b.safetensors", "qwen_3_8b_fp8mixed.safetensors"
MISTRAL = "mistral_3_small_flux2_bf16.safetensors"
"""Text encoders by ComfyUI's file names."""


def _klein(name: str, size: Size, release: Release, trained_instead: str = "") -> Flux2:
    programs = programs_of(release, QWEN_4B if size is KLEIN_4B else QWEN_8B)
    return Flux2(name=name, size=size, text=QWEN3, release=release, programs=programs, trained_instead=trained_instead)


KLEIN = (
    _klein("FLUX.2 klein base 4B", KLEIN_4B, BASE_4B),
    _klein("FLUX.2 klein base 9B", KLEIN_9B, BASE_9B),
    _klein("FLUX.2 klein 4B", KLEIN_4B, DISTILLED_4B, "flux2_klein_4b"),
    _klein("FLUX.2 klein 9B", KLEIN_9B, DISTILLED_9B, "flux2_klein_9b"),
)
"""A base comes before what was distilled from it: a LoRA file fits both."""
FLUX2_DEV = Flux2(
    name="FLUX.2 dev",
    size=DEV,
    text=MISTRAL3,
    release=DEV_RELEASE,
    programs=programs_of(DEV_RELEASE, MISTRAL, DEV_PIPELINE),
)
"""Distilled to embedded guidance, as FLUX.1-dev is, and not to few steps: it is trained."""
