"""What models that take a picture as a whole think of the chosen candidate, beside the scores by places.

Such models judge backgrounds along with the subject, so they choose nothing. But where one sees the photos come nearer
though nothing counts as learned, or sees them come no nearer though it ships, somebody should look.
"""

from collections.abc import Callable, Mapping, Sequence

from PIL import Image
from torch import Tensor

from flux_lora.evaluate.choice import Choice, Verdict
from flux_lora.evaluate.estimate import Estimate, estimate

Embed = Callable[[Sequence[Image.Image]], Tensor]
"""images -> unit-length embeddings ND"""
LOUD = 0.05
"""Cosine that the photos come nearer, at the lower end of the interval, to speak against nothing learned."""


def nearer(
    embed: Embed, photos: Sequence[Image.Image], base: Sequence[Image.Image], lora: Sequence[Image.Image], prompts: int
) -> Estimate:
    """How much nearer the images with the trigger are to the held-out photos than the base's, as a cosine."""
    photos_HD, base_ND, lora_ND = embed(photos), embed(base), embed(lora)
    gained_N = (lora_ND @ photos_HD.T).mean(dim=1) - (base_ND @ photos_HD.T).mean(dim=1)
    return estimate(gained_N.reshape(prompts, -1))


def disagreements(choice: Choice, opinions: Mapping[str, Estimate]) -> tuple[str, ...]:
    """A sentence for each model that sees otherwise than the verdict."""
    ships = choice.verdict is Verdict.ship
    against = {
        name: found
        for name, found in opinions.items()
        if (ships and found.high <= 0) or (choice.verdict is Verdict.nothing and found.low > LOUD)
    }
    return tuple(
        f"{name} sees it otherwise: by the whole picture, images with the trigger "
        + ("come no nearer to the held-out photos than the base's" if ships else "come nearer to the held-out photos")
        + f" ({found.value:+.2f} in cosine, {found.low:+.2f} to {found.high:+.2f}). Look at the pictures first."
        for name, found in against.items()
    )
