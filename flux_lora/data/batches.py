"""Batches, counted: number k of a run depends on the seed and k alone, so resuming is starting at k.

In an epoch every sample is shown as often as its exposures say, whatever the batch size and the number of processes.
A bucket that does not divide evenly gives batches of near-equal size; none is padded.

Shape letters: B batch, C latent channels, H W latent height and width.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count

import torch
from torch import Generator, Tensor

from flux_lora.config.choices import OutsideMask, SourceRole
from flux_lora.data.cache import EncodedSample, traits_of
from flux_lora.distributed.processes import ProcessShare
from flux_lora.flow.randomness import generator_for
from flux_lora.models.family import PromptEmbeds, stack_prompt_embeds

Groups = tuple[tuple[int, ...], ...]
"""Sample numbers that share a bucket; a number stands there once for each time it is shown in an epoch."""


def group_by_shape(shapes: Sequence[tuple[int, ...]]) -> Groups:
    """Sample numbers that have the same height and width, each shown once an epoch."""
    members: dict[tuple[int, ...], list[int]] = {}
    for number, shape in enumerate(shapes):
        members.setdefault(shape, []).append(number)
    return tuple(tuple(members[shape]) for shape in sorted(members))


def apart_by_traits(groups: Groups, traits: Sequence[tuple[int, ...]]) -> Groups:
    """The groups, with samples apart that have not the same traits: the windows of their captions in tokens, in order,
    and the sizes of their references; see EncodedDataset.traits.

    Padding is attended to, so no two windows share a batch. Where all have the same traits the groups stay.
    """
    apart = []
    for group in groups:
        members: dict[tuple[int, ...], list[int]] = {}
        for number in group:
            members.setdefault(traits[number], []).append(number)
        apart += [tuple(members[each]) for each in sorted(members)]
    return tuple(apart)


def batches_per_epoch(groups: Groups, batch_size: int) -> int:
    """How many batches show every sample as often as it should be."""
    return sum(_parts(len(group), batch_size) for group in groups)


def sample_indices_at(groups: Groups, batch_size: int, seed: int, number: int) -> tuple[int, ...]:
    """The samples of batch `number`. Each epoch has an order of its own."""
    epoch, place = divmod(number, batches_per_epoch(groups, batch_size))
    return _epoch(groups, batch_size, seed, epoch)[place]


def share_of_rank(places: int, rank: int, world: int) -> tuple[int, ...]:
    """Which places of a batch a process takes: together they take each once, and none has two more than another."""
    return tuple(ProcessShare(rank, world).of(range(places)))


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


@dataclass(frozen=True)
class Batch:
    """Everything one training step reads."""

    latents: Tensor  # BCHW
    prompt_embeds: PromptEmbeds
    loss_weights: Tensor | None = None  # B1HW in [0, 1]
    """How much each place counts in the loss; None where all of them do."""
    masks: Tensor | None = None  # B1HW in [0, 1]
    """How much the photo's velocity is the answer at a place, and not the base's own; None where it is everywhere."""
    shares: Tensor | None = None  # B
    """What each image's loss counts in this process's part of a batch; None is one nth of n. A batch that its bucket
    does not fill counts less as a whole: each of its images counts as much as any other."""
    samples: tuple[int, ...] = ()
    """Numbers in the set of all images of the batch, those of other processes among them."""
    share: ProcessShare = ProcessShare(0, 1)
    """Which of these are here: samples[rank::world_size]. A process that has none answers the first one's question,
    and that counts for nothing."""
    references: tuple[Tensor, ...] = ()  # each BCHW, of any size
    """What the images are made from: clean, and never learned."""

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Batch":
        """The same batch elsewhere. What the loss is weighed by stays float32."""
        beside = self.latents.is_pinned()
        weights, masks, shares = self.loss_weights, self.masks, self.shares
        return replace(
            self,
            latents=self.latents.to(device, dtype, non_blocking=beside),
            prompt_embeds=self.prompt_embeds.to(device, dtype),
            loss_weights=None if weights is None else weights.to(device, non_blocking=beside),
            masks=None if masks is None else masks.to(device, non_blocking=beside),
            shares=None if shares is None else shares.to(device, non_blocking=beside),
            references=tuple(each.to(device, dtype, non_blocking=beside) for each in self.references),
        )

    def pinned(self) -> "Batch":
        """The same in page-locked memory, from which a GPU copies beside its work."""
        return replace(
            self,
            latents=self.latents.pin_memory(),
            prompt_embeds=self.prompt_embeds.pinned(),
            loss_weights=None if self.loss_weights is None else self.loss_weights.pin_memory(),
            masks=None if self.masks is None else self.masks.pin_memory(),
            shares=None if self.shares is None else self.shares.pin_memory(),
            references=tuple(each.pin_memory() for each in self.references),
        )

    def spread(self, values: Tensor) -> Tensor:
        """What belongs to the images here, B..., at their places in the whole batch, and 0 at those of the others."""
        if self.share.world_size == 1:
            return values
        whole = values.new_zeros(len(self.samples), *values.shape[1:])
        here = whole[self.share.rank :: self.share.world_size]
        here.copy_(values[: len(here)])
        return whole

    def here(self, whole: Tensor) -> Tensor:
        """Of the whole batch, what belongs to the images here."""
        share = self.share
        return whole[share.rank :: share.world_size] if share.rank < len(whole) else whole[:1]


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How batches are taken from a set."""

    batch_size: int
    """Most images of one batch, over all processes together."""
    seed: int
    caption_dropout: float = 0.0
    """Share of captions that become the empty one; of batches, where its window is another than theirs."""
    sample_latents: bool = False
    """Draw each latent from what the VAE takes the image for, instead of its mean."""
    prior_loss_weight: float = 1.0
    """How much a regularisation image counts in the loss, beside one of the subject."""
    mask_floor: float = 0.0
    """How much what a mask leaves out still counts."""
    outside_mask: OutsideMask = OutsideMask.photo
    """What is learned there."""
    rank: int = 0
    world_size: int = 1
    """Processes that share each batch, and which of them this is. All see the same batches, whatever their number."""


def batches(
    encoded: Sequence[EncodedSample],
    empty: PromptEmbeds,
    *,
    batch_size: int,
    seed: int,
    start: int = 0,
    caption_dropout: float = 0.0,
) -> Iterator[Batch]:
    """Batches that show every sample once an epoch, from number `start` on, without end."""
    feed = BatchOptions(batch_size=batch_size, seed=seed, caption_dropout=caption_dropout)
    return batches_from(encoded, empty, feed, grouped(encoded), start=start)


def batches_from(
    encoded: Sequence[EncodedSample], empty: PromptEmbeds, feed: BatchOptions, groups: Groups, *, start: int = 0
) -> Iterator[Batch]:
    """Batches from number `start` on, without end. A plan knows its groups, and no latent is read to find them."""
    for number in count(start):
        yield batch_at(encoded, empty, feed, groups, number)


def batch_at(
    encoded: Sequence[EncodedSample], empty: PromptEmbeds, feed: BatchOptions, groups: Groups, number: int
) -> Batch:
    """This process's part of batch `number`."""
    members = sample_indices_at(groups, feed.batch_size, feed.seed, number)
    chances = torch.rand(len(members), generator=generator_for(feed.seed, number, "caption dropout"))
    variants = torch.rand(len(members), generator=generator_for(feed.seed, number, "caption variant"))
    mine = share_of_rank(len(members), feed.rank, feed.world_size)
    places = mine or (0,)  # a process with nothing to do answers a question that counts for nothing
    samples = [encoded[members[place]] for place in places]
    window = _drawn(samples[0].prompt_embeds, variants[0]).window  # all of a batch have captions of the same windows
    alike = empty.window == window
    kept = [bool(chances[place if alike else 0] >= feed.caption_dropout) for place in places]
    drawn = [_said(sample, window, variants[place]) for place, sample in zip(places, samples, strict=True)]
    share = feed.world_size / feed.batch_size if mine else 0.0
    masks = _masks(samples)
    return Batch(
        latents=torch.stack([_latent(one, feed, number, place) for one, place in zip(samples, places, strict=True)]),
        prompt_embeds=stack_prompt_embeds(
            [caption if keep else empty for caption, keep in zip(drawn, kept, strict=True)]
        ),
        loss_weights=None if masks is None else feed.mask_floor + (1 - feed.mask_floor) * masks,
        masks=masks if feed.outside_mask is OutsideMask.base else None,
        samples=members,
        share=ProcessShare(feed.rank, feed.world_size),
        shares=torch.tensor([share * (feed.prior_loss_weight if is_prior(one) else 1.0) for one in samples]),
        references=tuple(torch.stack(each) for each in zip(*(one.references for one in samples), strict=True)),
    )


def is_prior(sample: EncodedSample) -> bool:
    """Whether it is there to keep the class as it is."""
    return sample.role is SourceRole.regularisation


def grouped(encoded: Sequence[EncodedSample]) -> Groups:
    """Sample numbers by the shape of their latents and references and the windows of their captions, each shown once an
    epoch. Every latent is opened for that."""
    shapes, traits = [], []
    for one in encoded:
        shapes.append(tuple(one.latent.shape[-2:]))
        windows = [each.window for each in one.prompt_embeds]
        traits.append(traits_of(windows, [each.shape[-2:] for each in one.references]))
    return apart_by_traits(group_by_shape(shapes), traits)


def _said(sample: EncodedSample, window: int, chance: Tensor) -> PromptEmbeds:
    """One of its captions of this window: which window a batch has follows from its first sample."""
    return _drawn([each for each in sample.prompt_embeds if each.window == window], chance)


def _drawn(captions: Sequence[PromptEmbeds], chance: Tensor) -> PromptEmbeds:
    return captions[int(chance * len(captions))]


def _latent(sample: EncodedSample, feed: BatchOptions, number: int, place: int) -> Tensor:
    if not feed.sample_latents:
        return sample.latent
    noise = torch.randn(sample.latent.shape, generator=generator_for(feed.seed, number, f"latent {place}"))
    return sample.latent + sample.std * noise.to(sample.latent)


def _masks(samples: Sequence[EncodedSample]) -> Tensor | None:
    """B1HW; None where no sample has one."""
    if all(sample.mask is None for sample in samples):
        return None
    return torch.stack([torch.ones_like(one.latent[:1]) if one.mask is None else one.mask for one in samples]).float()
