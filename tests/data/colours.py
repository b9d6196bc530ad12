"""Encoders that need no weights, for the cache's tests, and photos for them."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from flux_lora.data.bucketing.plan import BucketOptions, Prepared, plan
from flux_lora.data.cache import EncodeOptions, EncodeResult, Encoders, encode_all
from flux_lora.models.family import LatentDistribution, PromptEmbeds
from tests.data.drawn_images import gradient, write_sample
from tests.data.samples_of import find_samples

HOUR_NS = 3600 * 10**9


@dataclass
class MeanColours:
    """Encoders that remember what they were asked."""

    asked: list[str] = field(default_factory=list)

    def encoders(self) -> Encoders:
        return Encoders("mean colour", self.open_images, "letters", self.open_captions, 8)

    def open_images(self):
        self.asked.append("images opened")

        def latents(pixels: Tensor) -> LatentDistribution:
            self.asked.append("an image")
            mean = torch.nn.functional.avg_pool2d(pixels, 8)
            return LatentDistribution(mean, torch.full_like(mean, 0.25))

        return latents

    def open_captions(self):
        self.asked.append("captions opened")

        def text(caption: str) -> PromptEmbeds:
            self.asked.append(caption)
            return PromptEmbeds({"t5": torch.full((1, 2, 3), float(len(caption))), "pooled": torch.zeros(1, 3)})

        return text


def three_photos(folder: Path) -> Path:
    """0.png, 1.png and 2.png of different widths, each with a caption, written an hour ago."""
    for number in range(3):
        write_sample(folder, f"{number}.png", f"a TOK mug {number}", gradient(48 + 16 * number, 32, seed=number))
    for file in folder.iterdir():
        grow_old(file)
    return folder


def grow_old(file: Path) -> None:
    """As if it had been written an hour ago."""
    then = time.time_ns() - HOUR_NS
    os.utime(file, ns=(then, then))


def planned(photos: Path, resolution: int = 32) -> Sequence[Prepared]:
    return plan(find_samples(photos), BucketOptions(16, resolutions=(resolution,), max_upscale=4.0)).prepared


def made_by(colours: MeanColours, photos: Path, folder: Path, wanted: EncodeOptions | None = None) -> EncodeResult:
    return encode_all(planned(photos), colours.encoders(), folder, wanted=wanted)


def entries(folder: Path) -> dict[str, int]:
    """Names of entries, and when each was written."""
    return {file.name: file.stat().st_mtime_ns for file in folder.glob("*.safetensors")}
