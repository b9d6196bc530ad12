"""Batches, counted: number k of a run depends on the seed and k alone, so resuming is starting at k.

Shape letters: B batch, C latent channels, H W latent height and width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count

import torch
from torch import Tensor

from flux_lora.data.cache import Encoded
from flux_lora.flow.randomness import generator_for
from flux_lora.models.family import Text, stacked

Groups = tuple[tuple[int, ...], ...]
"""Sample numbers that share a bucket."""


@dataclass(frozen=True)
class Batch:
    """Everything one training step reads."""

    latents: Tensor  # BCHW
    text: Text
    plain: Text
    """The captions without the trigger."""

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Batch":
        """The same batch elsewhere."""
        return Batch(
            latents=self.latents.to(device, dtype),
            text=self.text.to(device, dtype),
            plain=self.plain.to(device, dtype),
        )


def batches(
    encoded: Sequence[Encoded],
    empty: Text,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    caption_dropout: float = 0.0,
) -> Iterator[Batch]:
    """Batches from number `start` on, without end. A dropped caption becomes the empty one."""
    groups = grouped(encoded)
    for number in count(start):
        members = members_at(groups, batch_size, seed, number)
        chances = torch.rand(len(members), generator=generator_for(seed, number, "caption dropout"))
        dropped = (chances < caption_dropout).tolist()
        texts = [empty if drop else encoded[member].text for member, drop in zip(members, dropped, strict=True)]
        yield Batch(
            latents=torch.stack([encoded[member].latent for member in members]),
            text=stacked(texts),
            plain=stacked([encoded[member].plain for member in members]),
        )


def grouped(encoded: Sequence[Encoded]) -> Groups:
    """Sample numbers by the shape of their latents."""
    shapes = [tuple(one.latent.shape) for one in encoded]
    return tuple(
        tuple(number for number, other in enumerate(shapes) if other == shape) for shape in sorted(set(shapes))
    )


def batches_per_epoch(groups: Groups, batch_size: int) -> int:
    """How many batches show every sample once."""
    return sum(_parts(len(group), batch_size) for group in groups)


def members_at(groups: Groups, batch_size: int, seed: int, number: int) -> tuple[int, ...]:
    """The samples of batch `number`. An epoch shows each sample exactly once, in an order of its own."""
    epoch, place = divmod(number, batches_per_epoch(groups, batch_size))
    return _epoch(groups, batch_size, seed, epoch)[place]


@lru_cache(maxsize=4)
def _epoch(groups: Groups, batch_size: int, seed: int, epoch: int) -> Groups:
    """A bucket that does not divide evenly gives batches of near-equal size: no sample is dropped or shown twice."""
    generator = generator_for(seed, epoch, "order")
    members = []
    for group in groups:
        order = torch.randperm(len(group), generator=generator)
        chunks = torch.tensor(group)[order].tensor_split(_parts(len(group), batch_size))
        members.extend(tuple(chunk.tolist()) for chunk in chunks)
    return tuple(members[place] for place in torch.randperm(len(members), generator=generator).tolist())


def _parts(samples: int, batch_size: int) -> int:
    return -(-samples // batch_size)
