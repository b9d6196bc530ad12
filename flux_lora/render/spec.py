"""Everything that decides what a picture looks like, apart from the weights."""

from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True)
class Shot:
    """One picture to make: these words, this noise."""

    prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class RenderSpec:
    """Previews, scores and exported snippets share this, so a picture seen once can be had again."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    width: int
    height: int
    text_tokens: int
    """T5 length; FLUX answers differently at another one."""
    steps: int = 20
    guidance: float = 3.5
    """Strength of the embedded guidance; true classifier-free guidance stays off."""

    def shots(self) -> tuple[Shot, ...]:
        """Every prompt with every seed; all seeds of a prompt stand together."""
        return tuple(Shot(prompt, seed) for prompt, seed in product(self.prompts, self.seeds))
