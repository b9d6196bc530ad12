"""Which samples batch number k shows: a pure function of the seed and k, so that resuming is starting at k.

In an epoch every sample is shown as often as its exposures say, whatever the batch size and the number of processes.
A bucket that does not divide evenly gives batches of near-equal size; none is padded.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Generator

from flux_lora.flow.randomness import generator_for

Groups = tuple[tuple[int, ...], ...]
"""Sample numbers that share a bucket; a number stands there once for each time it is shown in an epoch."""


def group_by_shape(shapes: Sequence[tuple[int, ...]]) -> Groups:
    """Sample numbers that have the same height and width, each shown once an epoch."""
    members: dict[tuple[int, ...], list[int]] = {}
    for number, shape in enumerate(shapes):
        members.setdefault(shape, []).append(number)
    return tuple(tuple(members[shape]) for shape in sorted(members))


def batches_per_epoch(groups: Groups, batch_size: int) -> int:
    """How many batches show every sample as often as it should be."""
    return sum(_parts(len(group), batch_size) for group in groups)


def sample_indices_at(groups: Groups, batch_size: int, seed: int, number: int) -> tuple[int, ...]:
    """The samples of batch `number`. Each epoch has an order of its own."""
    epoch, place = divmod(number, batches_per_epoch(groups, batch_size))
    return _epoch(groups, batch_size, seed, epoch)[place]


def share_of_rank(places: int, rank: int, world: int) -> tuple[int, ...]:
    """Which places of a batch a process takes: together they take each once, and none has two more than another."""
    return tuple(range(rank, places, world))


@lru_cache(maxsize=4)
def _epoch(groups: Groups, batch_size: int, seed: int, epoch: int) -> Groups:
    generator = generator_for(seed, epoch, "order")
    members = []
    for group in groups:
        chunks = torch.tensor(_shuffled(group, generator)).tensor_split(_parts(len(group), batch_size))
        members.extend(tuple(chunk.tolist()) for chunk in chunks)
    return tuple(members[place] for place in torch.randperm(len(members), generator=generator).tolist())


def _shuffled(group: Sequence[int], generator: Generator) -> list[int]:
    """Round by round, so that a sample comes again only after all the others that are left have been shown."""
    left, order = Counter(group), []
    while left:
        numbers = list(left)
        order += [numbers[place] for place in torch.randperm(len(numbers), generator=generator).tolist()]
        left = Counter({number: times - 1 for number, times in left.items() if times > 1})
    return order


def _parts(exposures: int, batch_size: int) -> int:
    return -(-exposures // batch_size)
