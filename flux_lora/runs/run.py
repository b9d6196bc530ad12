"""A run as a thing that can be opened, with no terminal: its recipe, folder, device, model family and encoders.

Everything is worked out when it is first asked for, and once.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import torch

from flux_lora.config.choices import Quantization
from flux_lora.config.compose import knobs_in, read_recipe, write_recipe
from flux_lora.config.schema import ModelConfig, RunConfig
from flux_lora.data.cache import encode_captions
from flux_lora.data.progress import Progress, no_progress
from flux_lora.errors import RunError
from flux_lora.models.device import placement_of
from flux_lora.models.family import Encoders, ModelFamily, ModelSource, Pipeline, Placement, PromptEmbeds
from flux_lora.models.frozen_linear import quantization_said
from flux_lora.models.hub import fingerprint
from flux_lora.models.registry import FAMILIES, family_of
from flux_lora.render.spec import RenderSpec, Weights
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.resume import AUTO, FRESH, HELD_OUT_BY_LOT, begun_without_lots, refuse_another_recipe


class Feedback(Protocol):
    """Where a run's progress and remarks go while it works. Commands hand in the terminal."""

    def progress(self, doing: str, *, keeps: bool = False) -> AbstractContextManager[Progress]:
        """How many of how many. `keeps`: what is done stays, and a person who interrupts is told how much it is."""
        ...

    def status(self, doing: str) -> AbstractContextManager[Callable[[str], None]]:
        """What is being done, in words that can be changed."""
        ...

    def say(self, line: str) -> None:
        """One line for the person."""
        ...


class Silent:
    """Feedback that goes nowhere."""

    @contextmanager
    def progress(self, doing: str, *, keeps: bool = False) -> Iterator[Progress]:  # noqa: ARG002
        """Yields a callback that does nothing."""
        yield no_progress

    @contextmanager
    def status(self, doing: str) -> Iterator[Callable[[str], None]]:  # noqa: ARG002
        """Yields a function that does nothing."""
        yield lambda _: None

    def say(self, line: str) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Run:
    """A recipe and what follows from it. Nothing is created or loaded before it is asked for."""

    config: RunConfig
    feedback: Feedback = field(default_factory=Silent)
    families: Sequence[ModelFamily] = FAMILIES

    @property
    def folder(self) -> RunFolder:
        """Where the run lives."""
        return RunFolder(Path(self.config.run.dir))

    @property
    def source(self) -> ModelSource:
        """The base."""
        model = self.config.model
        return ModelSource(
            model.path,
            model.revision,
            model.max_sequence_length,
            transformer=model.transformer,
            vae=model.vae,
            text_encoder=model.text_encoder,
            text_encoder_2=model.text_encoder_2,
        )

    @cached_property
    def device(self) -> Placement:
        """Raises ConfigError where the device of the recipe is not on this machine."""
        return placement_of(self.config.hardware)

    @cached_property
    def family(self) -> ModelFamily:
        """The base's family."""
        return family_of(self.source, self.families)

    @cached_property
    def encoders(self) -> Encoders:
        """The base's encoders with their fingerprints; no weights are loaded yet."""
        device = self.device.device
        text_device = torch.device("cpu") if self.config.hardware.encode_text_on_cpu else device
        return self.family.encoders(self.source, device=device, text_device=text_device, dtype=self.device.dtype)

    @cached_property
    def transformer_fingerprint(self) -> str:
        """Changes with any weight of the transformer. Its files are read for it, once."""
        return fingerprint(self.family.transformer_place(self.source))

    @cached_property
    def base_fingerprint(self) -> str:
        """Changes whenever the base would render other images: its transformer, VAE or text encoders."""
        parts = (self.transformer_fingerprint, self.encoders.image_fingerprint, self.encoders.caption_fingerprint)
        return sha256("|".join(parts).encode()).hexdigest()

    def weights(self, adapter: str = "", strength: float = 1.0) -> Weights:
        """What renders, for the text of its images; `adapter` is a digest, empty for the base alone."""
        return Weights(base=self.base_fingerprint, dtype=self.precision, adapter=adapter, strength=strength)

    @property
    def precision(self) -> str:
        """What the base is kept in and computed with, for the names of what it answers: bf16, int8 in bf16."""
        hardware = self.config.hardware
        kept = "" if hardware.quantize is Quantization.none else f"{hardware.quantize.value} in "
        return f"{kept}{hardware.dtype.value}"

    def encode_prompts(self, prompts: Sequence[str]) -> list[PromptEmbeds]:
        """Prompt embeds, each a batch of one; from the cache where they were prepared."""
        return encode_captions(prompts, self.encoders, self.folder.cache)

    def load_pipeline(self) -> Pipeline:
        """The base with nothing attached, frozen: loaded when first asked for, and the same one ever after.

        A real base fills most of a card; training, evaluation and export of one run take turns with it.
        """
        from flux_lora.adapter.attach import detach  # here, so that `check` starts without peft

        detach(self._pipeline.transformer)
        return self._pipeline

    def distilled(self) -> "Run":
        """The same run with the distilled model of the recipe in place of the base."""
        model = self.config.model
        own = ModelConfig(
            name=Path(model.distilled).name,
            path=model.distilled,
            max_sequence_length=model.max_sequence_length,
            render_guidance=model.distilled_guidance,
            scorer=model.scorer,
            likeness=model.likeness,
        )
        return Run(replace(self.config, model=own), self.feedback, self.families)

    def release(self) -> None:
        """Let the base go, for another to take its place; it is loaded again when it is asked for."""
        vars(self).pop("_pipeline", None)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @cached_property
    def _pipeline(self) -> Pipeline:
        negative = self.encode_prompts([""])[0] if self.family.uses_cfg else None
        with self.feedback.status("loading the base"):
            pipeline = self.family.load_pipeline(self.source, self.device)
        if self.device.quantize is not Quantization.none:
            said = quantization_said(pipeline.transformer, self.family.layer_groups["blocks_all"])
            self.feedback.say(f"{self.device.quantize.value}: {said}")
        return replace(pipeline, negative=negative)

    def begin(self) -> None:
        """Create the folder if need be, and keep the recipe in it.

        Raises ConfigError where the device is not on this machine, and RunError where the folder was begun with other
        settings or cannot be written to: then nothing is written.
        """
        folder, _ = self.folder, self.device
        if folder.recipe.is_file():
            refuse_another_recipe(folder.root, read_recipe(folder.recipe), self.config, known=knobs_in(folder.recipe))
        unknown = HELD_OUT_BY_LOT if begun_without_lots(folder.root, self.config.train.resume) else ""
        try:
            folder.root.mkdir(parents=True, exist_ok=True)
            write_recipe(_gone_on_with(self.config), folder.recipe, without=unknown)
        except OSError as error:
            raise RunError(
                f"{folder.root} cannot be written to: {error.strerror}",
                fix="make room there, or set run.dir to a folder that you may write to",
            ) from error


def _gone_on_with(config: RunConfig) -> RunConfig:
    """As a folder keeps it: what was begun fresh is gone on with."""
    return replace(config, train=replace(config.train, resume=AUTO)) if config.train.resume == FRESH else config


def spec_of(
    config: RunConfig, prompts: tuple[str, ...], seeds: tuple[int, ...], *, steps: int = RenderSpec.steps, side: int = 0
) -> RenderSpec:
    """Square images as this run renders them; `side` in pixels, 0 is data.resolution."""
    side = side or config.data.resolution
    return RenderSpec(
        prompts=prompts,
        seeds=seeds,
        width=side,
        height=side,
        text_tokens=config.model.max_sequence_length,
        steps=steps,
        guidance=config.model.render_guidance,
    )
