"""FLUX.1 as a model family: dev, schnell and the embedded mini base, which share one architecture.

What needs diffusers is imported where it is used: `check` asks for tokenizers and shapes only, and starts quickly.
"""

import json
import re
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
from flux_lora.models.flux1.caption_tokenizers import load_tokenizers
from flux_lora.models.flux1.layers import (
    FIXED_WIDTHS,
    LAYER_GROUPS,
    MODULATION,
    PATCH,
    PIXELS_PER_LATENT,
    WIDTH,
    flux1_shapes,
    fused_weights,
)
from flux_lora.models.flux1.programs import EDITING_PIPELINE, KONTEXT_PROGRAMS, PROGRAMS, release_like
from flux_lora.models.flux1.single_file import open_single_file
from flux_lora.models.pipeline_folder import INDEX, local_folder, part_folder
from flux_lora.models.programs import Programs, Release

if TYPE_CHECKING:
    from PIL import Image

    from flux_lora.models.flux1.sampling import Parts


@dataclass(frozen=True)
class Flux1:
    """See models.family.ModelFamily. Kontext is a row of its own: the same transformer, another pipeline."""

    name: str = "FLUX.1"
    pixels_per_latent: int = PIXELS_PER_LATENT
    pixels_per_token: int = PIXELS_PER_LATENT * PATCH
    layer_groups: Mapping[str, str] = field(default_factory=lambda: LAYER_GROUPS)
    modulation: str = "|".join(MODULATION)
    unused_in_training: str = ""
    uses_cfg: bool = False
    trained_instead: str = ""
    programs: Programs = PROGRAMS
    most_references: int = 1
    """Kontext's; the same tokens teach dev to edit, as OminiControl (2024) does."""

    def release_like(self, name: str) -> Release:
        """Schnell or Krea where the name says so, else dev; Kontext has one."""
        return release_like(name, self.programs.releases)

    def linear_shapes(self) -> Shapes:
        """FLUX.1-dev's; schnell lacks the guidance embedder."""
        return flux1_shapes()

    def adapted_modules(self) -> Collection[str]:
        """diffusers' layers and BFL's."""
        shapes = flux1_shapes()
        return {*shapes, *fused_weights(shapes)}

    def recognises(self, source: Source) -> bool:
        """By the class that model_index.json names."""
        index = local_folder(source.path) / INDEX
        try:
            return json.loads(index.read_text(encoding="utf-8"))["_class_name"] == self.programs.diffusers_pipeline
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def transformer_place(self, source: Source) -> Path:
        """The file that is named, else transformer/ of the pipeline."""
        if source.transformer:
            return open_single_file(source.transformer).file
        return part_folder(source.path, "transformer", source.revision)

    def load_tokenizers(self, source: Source) -> tuple[CaptionTokenizer, ...]:
        """T5's, whose sequence decides, and CLIP's, of which one pooled vector remains."""
        clip, t5 = load_tokenizers(source.path)
        return (
            CaptionTokenizer("T5", t5, source.max_sequence_length, decisive=True),
            CaptionTokenizer("CLIP", clip, clip.model_max_length, decisive=False),
        )

    def encoders(
        self, source: Source, *, device: torch.device, text_device: torch.device, dtype: torch.dtype
    ) -> Encoders:
        """VAE, CLIP and T5. Raises ModelError where a file is not what it is given as."""
        from flux_lora.models.flux1.latents import latent_distribution
        from flux_lora.models.flux1.load import load_text_encoders, load_vae
        from flux_lora.models.flux1.part_files import check_files, text_digest, vae_digest
        from flux_lora.models.flux1.text import encode_text

        def open_image_encoder() -> EncodeImage:
            vae = load_vae(source.vae or source.path, device=device, revision=source.revision)
            return lambda pixels: latent_distribution(vae, pixels)

        def open_caption_encoder() -> Callable[[str], PromptEmbeds]:
            text_encoders = load_text_encoders(source, dtype, device=text_device)
            return lambda caption: encode_text(text_encoders, [caption], source.max_sequence_length)

        check_files(source)
        weights = text_digest(source)
        return Encoders(
            image_fingerprint=vae_digest(source),
            open_image_encoder=open_image_encoder,
            caption_fingerprint=sha256(f"{weights}|{source.max_sequence_length}|{dtype}".encode()).hexdigest(),
            open_caption_encoder=open_caption_encoder,
            pixels_per_latent=self.pixels_per_latent,
        )

    def load_transformer(self, source: Source, placement: Placement) -> nn.Module:
        """FluxTransformer2DModel."""
        from flux_lora.models.flux1.load import load_transformer

        return load_transformer(
            str(self.transformer_place(source)) if source.transformer else source.path,
            placement.dtype,
            device=placement.device,
            revision=source.revision,
            quantize=placement.quantize,
            offload_modulation=placement.offload_modulation,
        )

    def load_pipeline(self, source: Source, placement: Placement) -> Pipeline:
        """Transformer, flow-matching Euler schedule, and the VAE (float32), which waits in host memory."""
        from flux_lora.models.flux1.load import load_scheduler, load_vae

        transformer = self.load_transformer(source, placement)
        return Pipeline(
            family=self,
            transformer=transformer,
            vae=load_vae(source.vae or source.path, revision=source.revision),
            scheduler=load_scheduler(source, cast(Any, transformer)),
        )

    def checkpoint_activations(self, transformer: nn.Module) -> None:
        """Block by block."""
        cast(Any, transformer).enable_gradient_checkpointing()

    def velocity(self, transformer: nn.Module, *, guidance: float) -> Velocity:
        """Embedded guidance in plain units; schnell is not given any."""
        from flux_lora.models.flux1.velocity import velocity_of

        return velocity_of(cast(Any, transformer), guidance=guidance, most_references=self.most_references)

    def sampling_shift(self, scheduler: object, *, width: int, height: int, steps: int) -> float:  # noqa: ARG002
        """Of FluxPipeline's dynamic shift, which does not depend on the steps."""
        from flux_lora.models.flux1.sampling import sampling_shift

        return sampling_shift(cast(Any, scheduler), width, height)

    def training_shift(self, scheduler: object, *, width: int, height: int) -> float:
        """As it samples."""
        from flux_lora.models.flux1.sampling import sampling_shift

        return sampling_shift(cast(Any, scheduler), width, height)

    def sample(
        self,
        pipeline: Pipeline,
        request: SampleRequest,
        *,
        size: tuple[int, int],
        steps: int,
        guidance: float,
    ) -> Tensor:
        """By diffusers' FluxPipeline, or Kontext's, which draws from a reference, with embedded guidance."""
        assert pipeline.negative is None, "FLUX.1's guidance is embedded"
        from flux_lora.models.flux1.sampling import pipeline_of, sample_with_flux_pipeline

        parts = cast("Parts", (pipeline.transformer, pipeline.scheduler))
        name = EDITING_PIPELINE if request.references else self.programs.diffusers_pipeline
        return sample_with_flux_pipeline(pipeline_of(name, parts), request, size=size, steps=steps, guidance=guidance)

    def decode(self, vae: nn.Module, latents: Tensor) -> "list[Image.Image]":
        """By the VAE's decoder, which is where the latents are for that long, and diffusers' image processor."""
        from flux_lora.models.flux1.latents import decode_latents
        from flux_lora.models.pipeline_parts import decode_images

        opened = cast(Any, vae)
        return decode_images(opened, lambda each: decode_latents(opened, each), latents)

    def weightless_transformer(self) -> nn.Module:
        """FLUX.1-dev's."""
        from flux_lora.models.flux1.weightless import weightless_transformer

        return weightless_transformer()

    def weightless_base(self, source: Source) -> Weightless:
        """As the configs on this disk say, else FLUX.1-dev's."""
        from flux_lora.models.flux1.weightless import weightless_base

        return weightless_base(source)

    def loads_in_diffusers(self, dialect: str, names: Collection[str], shapes: Shapes) -> bool:
        """Not into text encoders, nor what diffusers splits out of fused modules into other widths than FLUX.1's."""
        inside = [name for name in names if name in shapes]
        fixed = dialect != "diffusers" and any(re.fullmatch(FIXED_WIDTHS, name) for name in inside)
        return len(inside) == len(names) and (not fixed or WIDTH in shapes["x_embedder"])

    def load_lora_file(self, transformer: nn.Module, file: Path, adapter_name: str) -> Mapping[str, Tensor]:
        """By FluxPipeline.load_lora_weights."""
        from flux_lora.models.flux1.diffusers_lora import load_lora_file

        return load_lora_file(cast(Any, transformer), file, adapter_name)

    def velocity_at_fixed_point(self, transformer: nn.Module) -> Tensor:
        """At sigma 0.7 and guidance 3.5."""
        from flux_lora.models.flux1.diffusers_lora import velocity_at_fixed_point

        return velocity_at_fixed_point(cast(Any, transformer))


FLUX1 = (Flux1(), Flux1(name="FLUX.1 Kontext", programs=KONTEXT_PROGRAMS))
