"""FLUX.3 image klein as a model family: the base, and the one distilled to sixteen steps.

What needs diffusers is imported where it is used: `check` asks for tokenizers and shapes only, and starts quickly; and
without diffusers 0.42 all other families run.
"""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from flux_lora.errors import ConfigError
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
from flux_lora.models.flux3.caption_tokenizer import PLACES, WINDOW_STEP, counting_tokenizer, tokens_around
from flux_lora.models.flux3.layers import LAYER_GROUPS, MODULATION, PIXELS_PER_LATENT, SHIFT, UNUSED, flux3_shapes
from flux_lora.models.flux3.programs import BASE, DISTILLED, programs_of
from flux_lora.models.flux3.single_file import is_flow_map, open_single_file
from flux_lora.models.hub import fingerprint
from flux_lora.models.pipeline_folder import first_part_folder, local_folder, part_folder
from flux_lora.models.programs import Programs, Release

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, kw_only=True)
class Flux3Klein:
    """See models.family.ModelFamily."""

    name: str
    release: Release
    programs: Programs
    trained_instead: str = ""
    most_references: int = 10
    pixels_per_latent: int = PIXELS_PER_LATENT
    pixels_per_token: int = PIXELS_PER_LATENT
    layer_groups: Mapping[str, str] = field(default_factory=lambda: LAYER_GROUPS)
    modulation: str = MODULATION
    unused_in_training: str = UNUSED

    @property
    def distilled(self) -> bool:
        """Whether it is a flow map, which is also told where a step goes, and draws without guidance."""
        return bool(self.trained_instead)

    @property
    def uses_cfg(self) -> bool:
        """The base does; the distilled one has no use for it."""
        return not self.distilled

    def release_like(self, name: str) -> Release:  # noqa: ARG002
        """The only one of this row."""
        return self.release

    def linear_shapes(self) -> Shapes:
        """Those of klein; the distilled one has an embedder more."""
        return flux3_shapes(flow_map=self.distilled)

    def adapted_modules(self) -> Collection[str]:
        """diffusers' layers."""
        return self.linear_shapes()

    def recognises(self, source: Source) -> bool:
        """By the hub id, else by the class that its transformer's config names; and whether that, or the file that is
        taken in its place, is a flow map."""
        config = _transformer_config(source.path)
        if source.transformer and (source.path in HUB_IDS or config):
            return is_flow_map(source.transformer) is self.distilled
        if source.path in HUB_IDS:
            return source.path == self.release.hub
        return bool(config) and bool(config.get("flow_map")) is self.distilled

    def transformer_place(self, source: Source) -> Path:
        """The file that is named, else transformer/ of the pipeline."""
        if source.transformer:
            return open_single_file(source.transformer).file
        return part_folder(source.path, "transformer", source.revision)

    def load_tokenizers(self, source: Source) -> tuple[CaptionTokenizer, ...]:
        """Qwen's. The words around a caption take some of the longest window."""
        tokenizer = counting_tokenizer(source.path)
        around = tokens_around(tokenizer)
        kept = source.max_sequence_length - around
        return (CaptionTokenizer("Qwen", tokenizer, kept, decisive=True, around=around, window_step=WINDOW_STEP),)

    def encoders(
        self, source: Source, *, device: torch.device, text_device: torch.device, dtype: torch.dtype
    ) -> Encoders:
        """FLUX.2's VAE, and Qwen3-VL."""
        from flux_lora.models.flux2.latents import latent_distribution
        from flux_lora.models.flux2.load import load_vae
        from flux_lora.models.flux3.load import load_text_encoder
        from flux_lora.models.flux3.text import encode_text

        _refuse_part_files(source)

        def open_image_encoder() -> EncodeImage:
            vae = load_vae(source, device=device)
            return lambda pixels: latent_distribution(vae, pixels)

        def open_caption_encoder() -> Callable[[str], PromptEmbeds]:
            encoder = load_text_encoder(source, dtype, device=text_device)
            return lambda caption: encode_text(encoder, caption, source.max_sequence_length)

        tokenizer = first_part_folder(source.path, PLACES, source.revision)
        text_encoder = part_folder(source.path, "text_encoder", source.revision)
        weights = f"{fingerprint(tokenizer)}{fingerprint(text_encoder)}"
        return Encoders(
            image_fingerprint=fingerprint(part_folder(source.path, "vae", source.revision)),
            open_image_encoder=open_image_encoder,
            caption_fingerprint=sha256(f"{weights}|{source.max_sequence_length}|{dtype}".encode()).hexdigest(),
            open_caption_encoder=open_caption_encoder,
            pixels_per_latent=self.pixels_per_latent,
        )

    def load_transformer(self, source: Source, placement: Placement) -> nn.Module:
        """Flux3Transformer2DModel."""
        from flux_lora.models.flux3.load import load_transformer

        return load_transformer(source, placement)

    def load_pipeline(self, source: Source, placement: Placement) -> Pipeline:
        """Transformer, flow-matching Euler schedule, and the VAE (float32), which waits in host memory."""
        from flux_lora.models.flux2.load import load_vae
        from flux_lora.models.flux3.load import make_scheduler

        return Pipeline(
            family=self,
            transformer=self.load_transformer(source, placement),
            vae=load_vae(source),
            scheduler=make_scheduler(),
        )

    def checkpoint_activations(self, transformer: nn.Module) -> None:
        """Block by block."""
        cast(Any, transformer).enable_gradient_checkpointing()

    def velocity(self, transformer: nn.Module, *, guidance: float) -> Velocity:  # noqa: ARG002
        """Klein has no embedded guidance."""
        from flux_lora.models.flux3.velocity import velocity_of

        return velocity_of(cast(Any, transformer))

    def sampling_shift(self, scheduler: object, *, width: int, height: int, steps: int) -> float:  # noqa: ARG002
        """The same for every size and number of steps."""
        return SHIFT

    def training_shift(self, scheduler: object, *, width: int, height: int) -> float:  # noqa: ARG002
        """The sampler's, of which SimpleTuner trains too."""
        return SHIFT

    def sample(
        self,
        pipeline: Pipeline,
        request: SampleRequest,
        *,
        size: tuple[int, int],
        steps: int,
        guidance: float,
    ) -> Tensor:
        """By diffusers' modular pipeline, with real classifier-free guidance where the base has it."""
        from flux_lora.models.flux3.sampling import pipeline_of, sample_with_modular_pipeline

        sampler = pipeline_of(cast(Any, pipeline.transformer), cast(Any, pipeline.scheduler))
        return sample_with_modular_pipeline(
            sampler, (request, pipeline.negative), size=size, steps=steps, guidance=guidance
        )

    def decode(self, vae: nn.Module, latents: Tensor) -> "list[Image.Image]":
        """By FLUX.2's VAE, which is where the latents are for that long, and diffusers' image processor."""
        from flux_lora.models.flux2.latents import decode_latents
        from flux_lora.models.pipeline_parts import decode_images

        opened = cast(Any, vae)
        return decode_images(opened, lambda each: decode_latents(opened, each), latents)

    def weightless_transformer(self) -> nn.Module:
        """The released one's."""
        from flux_lora.models.flux3.weightless import weightless_transformer

        return weightless_transformer(flow_map=self.distilled)

    def weightless_base(self, source: Source) -> Weightless:
        """As the configs on this disk say, else the released one's."""
        from flux_lora.models.flux3.weightless import weightless_base

        return weightless_base(source, flow_map=self.distilled)

    def loads_in_diffusers(self, dialect: str, names: Collection[str], shapes: Shapes) -> bool:  # noqa: ARG002
        """Not what is outside of the transformer."""
        return all(name in shapes for name in names)

    def load_lora_file(self, transformer: nn.Module, file: Path, adapter_name: str) -> Mapping[str, Tensor]:
        """By Flux3ModularPipeline.load_lora_weights."""
        from flux_lora.models.flux3.diffusers_lora import load_lora_file

        return load_lora_file(cast(Any, transformer), file, adapter_name)

    def velocity_at_fixed_point(self, transformer: nn.Module) -> Tensor:
        """At sigma 0.7."""
        from flux_lora.models.flux3.diffusers_lora import velocity_at_fixed_point

        return velocity_at_fixed_point(cast(Any, transformer))


HUB_IDS = (BASE.hub, DISTILLED.hub)


def _transformer_config(path: str) -> Mapping[str, object]:
    """Of a FLUX.3 on this disk; empty where it is none."""
    file = local_folder(path) / "transformer" / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
        return config if config["_class_name"] == "Flux3Transformer2DModel" else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _refuse_part_files(source: Source) -> None:
    parts = {"vae": source.vae, "text_encoder": source.text_encoder, "text_encoder_2": source.text_encoder_2}
    for key, file in parts.items():
        if file:
            raise ConfigError(
                f"model.{key} is {file}, and FLUX.3's is not read out of a file by itself",
                fix=f"leave model.{key} empty, and set model.path to a folder or hub id that has it",
            )


FLUX3 = (
    Flux3Klein(name="FLUX.3 klein base", release=BASE, programs=programs_of(BASE, "Flux3")),
    Flux3Klein(
        name="FLUX.3 klein",
        release=DISTILLED,
        programs=programs_of(DISTILLED, "Flux3Distilled"),
        trained_instead="flux3_klein",
    ),
)
"""The base comes before what was distilled from it: a LoRA file fits both."""
