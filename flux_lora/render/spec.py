"""Render settings: everything that decides what an image looks like, apart from the weights."""

from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Shot:
    """One image to render: its prompt and the seed of its noise."""

    prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class RenderSpec:
    """Shared by previews, scores and exported snippets, so that each can render the others' images again. Pixels."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    width: int
    height: int
    text_tokens: int
    """Length of the T5 sequence, padding included: FLUX attends to the padding, so it changes the image."""
    steps: int = 20
    guidance: float = 3.5
    """The guidance embed's value; true classifier-free guidance is off."""

    def shots(self) -> tuple[Shot, ...]:
        """Every prompt with every seed; all seeds of a prompt stand together."""
        return tuple(Shot(prompt, seed) for prompt, seed in product(self.prompts, self.seeds))
