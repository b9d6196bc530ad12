"""A reader of pictures: which things, in which colours, where, on which ground.

It is trained on drawn scenes, the two newcomers of the templates included, and is the only one
that says whether a render is right. It never trains a model and is not part of the package.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from scripts.mini.captions import random_scene
from scripts.mini.newcomers import NEWCOMERS, draw_newcomer
from scripts.mini.world import COLOURS, GROUNDS, PLACES, SHAPES, THINGS, Scene, draw_scene

PIXELS = 128
KINDS = ("", *THINGS, *NEWCOMERS)
HUES = ("", *COLOURS)
WEIGHTS = Path(__file__).with_name("judge.safetensors")
NEWCOMER_SHARE = 0.15


@dataclass(frozen=True)
class Seen:
    """What is in a picture: at each of the three places a kind and a colour ("" for none), and the ground."""

    kinds: tuple[str, str, str]
    colours: tuple[str, str, str]
    ground: tuple[str, str]

    @property
    def places(self) -> tuple[bool, bool, bool]:
        """Where something stands."""
        left, middle, right = (bool(kind) for kind in self.kinds)
        return left, middle, right


def truth(scene: Scene, newcomer: str = "") -> Seen:
    """What a scene shows, in the judge's words. A newcomer has no colour of the world."""
    kinds, colours = [], []
    for place in PLACES:
        here = [thing for thing in scene.things if thing.place == place]
        kinds.append((newcomer or here[0].kind) if here else "")
        colours.append(here[0].colour if here and not newcomer else "")
    return Seen(tuple(kinds), tuple(colours), scene.ground)  # type: ignore[arg-type]


class Judge(nn.Module):
    """A small convolutional reader; logits B, 3 places x (kinds + colours) + grounds."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 64, 96)
        blocks: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            blocks += [nn.Conv2d(before, after, 5 if before == 3 else 3, stride=2, padding=2 if before == 3 else 1)]
            blocks += [nn.BatchNorm2d(after), nn.ReLU()]
        self.eye = nn.Sequential(*blocks, nn.Conv2d(96, 24, 1), nn.ReLU(), nn.Flatten())
        self.mouth = nn.Linear(24 * 64, 3 * (len(KINDS) + len(HUES)) + len(GROUNDS))

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels BCHW in [-1, 1], 128 x 128."""
        return self.mouth(self.eye(pixels))

    @torch.no_grad()
    def see(self, pictures: Sequence[Image.Image]) -> list[Seen]:
        """Say what is in each picture, whatever its size."""
        self.eval()
        answers = []
        for first in range(0, len(pictures), 64):
            logits = self(torch.stack([_square(picture) for picture in pictures[first : first + 64]]))
            answers += [_read(one) for one in zip(*(head.argmax(-1).tolist() for head in _heads(logits)), strict=True)]
        return answers


def load_judge() -> Judge:
    """The committed judge."""
    judge = Judge()
    judge.load_state_dict({name: value.float() for name, value in load_file(WEIGHTS).items()}, strict=False)
    return judge.eval()


def train_judge(*, steps: int, batch: int, seed: int) -> Judge:
    """Train the judge on drawn scenes and write it down."""
    torch.manual_seed(seed)
    judge = Judge().train()
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1.0, weight_decay=1e-3)
    began = time.time()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 3e-3 * min(1, step / 50) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        pictures, truths = examples(Random(f"judge {seed} {step}"), batch)
        pixels = _spoiled(torch.stack([_square(picture) for picture in pictures]))
        loss = sum(
            F.cross_entropy(head.flatten(0, -2), aim.flatten())
            for head, aim in zip(_heads(judge(pixels)), _aims(truths), strict=True)
        )
        assert isinstance(loss, Tensor)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 0:
            print(f"judge {step} loss {loss.item():.3f} {time.time() - began:.0f}s", flush=True)
    weights = {name: value.half() for name, value in judge.state_dict().items() if value.is_floating_point()}
    save_file(weights, WEIGHTS)
    return load_judge()


def examples(random: Random, count: int) -> tuple[list[Image.Image], list[Seen]]:
    """Drawn scenes, now and then with a newcomer, and the truth about them."""
    pictures, truths = [], []
    for _ in range(count):
        newcomer = random.choice(list(NEWCOMERS)) if random.random() < NEWCOMER_SHARE else ""
        shape = random.choice(SHAPES) if random.random() < 0.3 else SHAPES[0]
        scene = random_scene(random, two_things=0.0 if newcomer else 0.25, shape=shape)
        pictures.append(draw_newcomer(newcomer, scene) if newcomer else draw_scene(scene))
        truths.append(truth(scene, newcomer))
    return pictures, truths


def agreement(seen: Sequence[Seen], truths: Sequence[Seen]) -> dict[str, float]:
    """The share of pictures of which each thing was read right."""
    pairs = list(zip(seen, truths, strict=True))
    return {
        "object": share(sorted(a.kinds) == sorted(b.kinds) for a, b in pairs),
        "colour": share(sorted(a.colours) == sorted(b.colours) for a, b in pairs),
        "place": share(a.places == b.places for a, b in pairs),
        "background": share(a.ground == b.ground for a, b in pairs),
    }


def share(hits: Iterable[bool]) -> float:
    """How many of them, 0 to 1."""
    values = list(hits)
    return sum(values) / len(values)


def _square(picture: Image.Image) -> Tensor:
    pixels = np.asarray(picture.convert("RGB").resize((PIXELS, PIXELS), Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1


def _spoiled(pixels: Tensor) -> Tensor:
    """A little blur and noise, as renders have."""
    soft = F.interpolate(F.avg_pool2d(pixels, 2), scale_factor=2, mode="bilinear")
    share = torch.rand(len(pixels), 1, 1, 1)
    return torch.lerp(pixels, soft, share) + 0.05 * share * torch.randn_like(pixels)


def _heads(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Kinds B3K, colours B3H, grounds BG."""
    kinds, colours, grounds = logits.split([3 * len(KINDS), 3 * len(HUES), len(GROUNDS)], dim=1)
    return kinds.unflatten(1, (3, -1)), colours.unflatten(1, (3, -1)), grounds


def _aims(truths: Sequence[Seen]) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.tensor([[KINDS.index(kind) for kind in one.kinds] for one in truths]),
        torch.tensor([[HUES.index(colour) for colour in one.colours] for one in truths]),
        torch.tensor([GROUNDS.index(one.ground) for one in truths]),
    )


def _read(answer: tuple[list[int], list[int], int]) -> Seen:
    kinds, colours, ground = answer
    return Seen(
        tuple(KINDS[index] for index in kinds),  # type: ignore[arg-type]
        tuple(HUES[index] for index in colours),  # type: ignore[arg-type]
        GROUNDS[ground],
    )
