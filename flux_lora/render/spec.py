"""Render settings: everything that decides what an image looks like, the weights by their fingerprints."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from itertools import product

SAMPLER = "euler"
"""Of the flow-matching schedule, its shift by the image's size as the base's scheduler says."""


@dataclass(frozen=True)
class Shot:
    """One image to render: its prompt and the seed of its noise."""

    prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What renders: the base and the adapter in it, by their contents."""

    base: str
    """Fingerprint of transformer, VAE and text encoders."""
    dtype: str
    """Compute dtype of the base."""
    adapter: str = ""
    """sha256 of the adapter's file; empty is the base alone."""
    strength: float = 1.0
    merged: bool = False
    """Whether the adapter was merged into the base's weights; live otherwise."""


@dataclass(frozen=True, kw_only=True)
class ImageSpec:
    """One image, by everything that it depends on. Two images of one key are the same image."""

    prompt: str
    seed: int
    """Of the noise, which is drawn on the CPU."""
    width: int
    height: int
    text_tokens: int
    steps: int
    guidance: float
    negative: str = ""
    sampler: str = SAMPLER
    made_from: str = ""
    """Digest of the images that it is made from; empty where it is made from words alone."""
    weights: Weights

    @property
    def key(self) -> str:
        """A digest of all of it."""
        return sha256(self.to_json().encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def to_json(self) -> str:
        """As one line of JSON, keys sorted. What is made from words alone has no word of what it is made from."""
        said = asdict(self)
        if not self.made_from:
            del said["made_from"]
        return json.dumps(said, sort_keys=True)


def image_spec_from_json(text: str) -> ImageSpec | None:
    """What to_json wrote; None for anything else."""
    try:
        kept = json.loads(text)
        spec = ImageSpec(**{**kept, "weights": Weights(**kept["weights"])})
    except (ValueError, TypeError, KeyError):
        return None
    return spec


@dataclass(frozen=True, kw_only=True)
class RenderSpec:
    """Shared by previews, scores and exported snippets, so that each can render the others' images again. Pixels."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    width: int
    height: int
    text_tokens: int
    """Length of the prompt embeds, padding included: FLUX attends to the padding, so it changes the image. The longest
    there may be, where a family pads each prompt to a window of its own."""
    steps: int = 20
    guidance: float = 3.5
    """The guidance embed's value, or the scale of real classifier-free guidance where the family uses that."""
    made_from: str = field(default="", repr=False)
    """Digest of the images that all of them are made from; empty where they are made from words alone. Not in the text
    of a spec, of which names of class images are made, and from these the noise of preservation."""

    def shots(self) -> tuple[Shot, ...]:
        """Every prompt with every seed; all seeds of a prompt stand together."""
        return tuple(Shot(prompt, seed) for prompt, seed in product(self.prompts, self.seeds))

    def images(self, weights: Weights) -> tuple[ImageSpec, ...]:
        """The shots as these weights render them."""
        common = {name: value for name, value in vars(self).items() if name not in ("prompts", "seeds")}
        return tuple(ImageSpec(prompt=shot.prompt, seed=shot.seed, weights=weights, **common) for shot in self.shots())

    def numbers_of(self, prompts: Sequence[int], seeds: int) -> tuple[int, ...]:
        """Which shots are of these prompts, by number, and of the first so many seeds."""
        return tuple(prompt * len(self.seeds) + seed for prompt in prompts for seed in range(seeds))
