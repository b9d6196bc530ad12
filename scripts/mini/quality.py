"""How good the committed mini base is: the table that its makers have to answer for."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from diffusers import FluxPipeline
from PIL import Image

from flux_lora.models.mini import mini_folder
from scripts.mini.captions import caption_of, random_scene
from scripts.mini.judge import agreement, examples, load_judge, truth
from scripts.mini.tokenizers import T5_TOKENS
from scripts.mini.vae import drawn, psnr
from scripts.mini.world import Scene

CAPTIONS, PICTURES, STEPS, GUIDANCE = 200, 128, 20, 3.5
AT_ONCE = 25


@dataclass(frozen=True)
class Bar:
    """One line of the table: what was measured, and what it has to be."""

    name: str
    value: float
    bar: float
    at_least: bool = True

    @property
    def passes(self) -> bool:
        """Whether the bar is reached."""
        return self.value >= self.bar if self.at_least else self.value <= self.bar


def measure() -> Iterator[Bar]:
    """Every bar, from the weights in the package; about three minutes on two cores."""
    pipeline = load_pipeline()
    scenes = held_out_scenes(PICTURES)
    yield Bar("VAE, PSNR in dB on drawn scenes", psnr(pipeline.vae, drawn(scenes)), 30.0)
    judge = load_judge()
    pictures, truths = examples(Random("judge held out"), 1000)
    for name, share in agreement(judge.see(pictures), truths).items():
        yield Bar(f"judge, {name} right on drawn scenes", share, 0.98)
    scenes = held_out_scenes(CAPTIONS)
    random = Random("held-out captions")
    captions = [caption_of(scene, random, loose=0.0) for scene in scenes]
    seen = judge.see(paint(pipeline, captions))
    for name, share in agreement(seen, [truth(scene) for scene in scenes]).items():
        yield Bar(f"rendered {name} right, {CAPTIONS} held-out captions", share, 0.90)
    began = time.perf_counter()
    paint(pipeline, captions[:1])
    yield Bar(f"seconds for one 128 x 128 picture in {STEPS} steps", time.perf_counter() - began, 3.0, at_least=False)


def table(bars: Sequence[Bar]) -> str:
    """The bars as a Markdown table."""
    lines = ["| what | measured | bar | |", "| --- | ---: | ---: | --- |"]
    for bar in bars:
        sign = "≥" if bar.at_least else "≤"
        lines.append(f"| {bar.name} | {bar.value:.3g} | {sign} {bar.bar:g} | {'yes' if bar.passes else 'NO'} |")
    return "\n".join(lines)


def load_pipeline() -> FluxPipeline:
    """The base as anyone loads it."""
    pipeline = FluxPipeline.from_pretrained(mini_folder(), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def held_out_scenes(count: int) -> list[Scene]:
    """Scenes with a combination of thing, colour and ground that was never trained on; a quarter show two things,
    as in the world at large."""
    random, scenes = Random("held-out scenes"), []
    while len(scenes) < count:
        scene = random_scene(random, two_things=float(len(scenes) % 4 == 3))
        if scene.held_out:
            scenes.append(scene)
    return scenes


def paint(pipeline: FluxPipeline, captions: Sequence[str]) -> list[Image.Image]:
    """One picture for each caption, each from a noise of its own."""
    pictures: list[Image.Image] = []
    for first in range(0, len(captions), AT_ONCE):
        these = list(captions[first : first + AT_ONCE])
        generators = [torch.Generator("cpu").manual_seed(first + number) for number in range(len(these))]
        pictures += pipeline(
            these,
            width=128,
            height=128,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            max_sequence_length=T5_TOKENS,
            generator=generators,
        ).images
    return pictures
