"""Latents of many drawn scenes, made once and kept for training."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor

from flux_lora.models.flux1.latents import encode_pixels
from scripts.mini.captions import random_scene
from scripts.mini.vae import drawn
from scripts.mini.world import SHAPES, Scene

CHUNK = 64
TWO_THINGS = 0.4
"""More scenes of two things than the world holds: which colour belongs to which is learnt last."""


@dataclass(frozen=True)
class Scenery:
    """Latents of many scenes of one shape, and what they show."""

    scenes: tuple[Scene, ...]
    latents: Tensor  # SCHW, as the transformer sees them, bfloat16


def sceneries(work: Path, vae: AutoencoderKL, *, count: int, seed: int) -> list[Scenery]:
    """`count` square scenes and a third as many in all of the other shapes; held-out combinations left out."""
    others = SHAPES[1:]
    return [_scenery(work, vae, SHAPES[0], count, seed)] + [
        _scenery(work, vae, shape, count // (3 * len(others)), seed) for shape in others
    ]


def training_scenes(shape: tuple[int, int], count: int, seed: int) -> tuple[Scene, ...]:
    """Scenes to train on, always the same ones for one seed."""
    random, scenes = Random(f"scenery {seed} {shape}"), []
    while len(scenes) < count:
        scene = random_scene(random, two_things=TWO_THINGS, shape=shape)
        if not scene.held_out:
            scenes.append(scene)
    return tuple(scenes)


def _scenery(work: Path, vae: AutoencoderKL, shape: tuple[int, int], count: int, seed: int) -> Scenery:
    scenes = training_scenes(shape, count, seed)
    file = work / f"latents-{shape[0]}x{shape[1]}-{count}-{seed}.safetensors"
    if not file.exists():
        save_file({"latents": _encoded(vae, scenes).contiguous()}, file)
    return Scenery(scenes, load_file(file)["latents"])


@torch.no_grad()
def _encoded(vae: AutoencoderKL, scenes: Sequence[Scene]) -> Tensor:
    chunks = []
    for first in range(0, len(scenes), CHUNK):
        with torch.autocast("cpu", torch.bfloat16):
            chunks.append(encode_pixels(vae, drawn(scenes[first : first + CHUNK])).to(torch.bfloat16))
    return torch.cat(chunks)
