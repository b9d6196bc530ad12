"""What the base answers about the images that preservation reminds of, asked once before the first step.

Each reminder (a class image; without any, a training image under its caption without the trigger) is asked about at up
to DRAWS points: noise and sigma follow from the image and the number of the draw alone, so every run on the same base
and images shares the answers in its cache. A step with a reminder then costs no pass of the base. The sigmas of a
reminder's draws are a Kronecker sequence: however many of them are used, they are spread evenly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, count, product

import torch
from torch import Tensor

from flux_lora.config.schema import TrainConfig
from flux_lora.data.batches import (
    Batch,
    BatchOptions,
    Groups,
    apart_by_traits,
    batches_per_epoch,
    group_by_shape,
    sample_indices_at,
)
from flux_lora.data.cache import EncodedDataset
from flux_lora.data.cache.entries import ANSWER, entry_name, has_entry, read_entry, read_prompt_embeds, write_entry
from flux_lora.distributed.processes import ProcessShare
from flux_lora.flow.points import FlowPoint, point_at
from flux_lora.flow.randomness import generator_for
from flux_lora.flow.sigmas import sigmas_at, uniform
from flux_lora.models.family import Pipeline, PromptEmbeds, Velocity, stack_prompt_embeds
from flux_lora.runs.encoding import PreparedRun
from flux_lora.runs.regularization import preservation_samples, render_class_images
from flux_lora.runs.run import Run
from flux_lora.train.checkpoints import Checkpoint, progress_of
from flux_lora.train.loop import made_ahead, placed, ready
from flux_lora.train.preservation import Asked, Preservation, tightening

PRESERVATION_WEIGHT = "preservation_weight"
"""What a checkpoint calls the weight that it went on with,"""
DRIFT = "preservation"
"""and what was answered last."""
DRAWS = 16
"""Points at which a reminder is asked about, at most; then the first comes again."""
NOISIER = 2.0
"""Shift beyond that of rendering: what an open prompt becomes is settled in the noisiest steps, so they are asked about
more often than they come by."""
GOLDEN = 0.6180339887498949
AT_ONCE = 4
"""Batches of training that one pass without a graph has room for."""
COMPARED = 16
"""Reminders of which the distance between prompts is measured."""


@dataclass(frozen=True)
class Reminders:
    """The images that are asked about, and how."""

    samples: EncodedDataset
    """Their captions do not say the trigger."""
    groups: Groups
    options: BatchOptions
    shift: float
    """Of the sigmas."""
    asked_as: str
    """All else that an answer depends on: the base, its guidance, its dtype."""
    draws: int
    """Points at which each is asked about."""
    between_prompts: float = 1.0
    """Mean squared difference of the base's answers to two prompts at one point: the unit of drift."""

    def text(self, member: int, draw: int) -> str:
        """The entry of the caption: variants take turns."""
        texts = self.samples.keys[member].texts
        return texts[draw % len(texts)]

    def prompt_embeds(self, member: int, draw: int) -> PromptEmbeds:
        """Of that caption."""
        return read_prompt_embeds(self.samples.folder, self.text(member, draw))

    def point(self, member: int, draw: int) -> tuple[Tensor, Tensor]:
        """Noise CHW and sigma of a draw."""
        latent = self.samples[member].latent
        generator = generator_for(draw, 0, f"reminder {self.samples.keys[member].latent}")
        offset = float(torch.rand((), generator=generator_for(0, 0, f"sigmas {self.samples.keys[member].latent}")))
        even = torch.tensor((offset + draw * GOLDEN) % 1)
        return torch.randn(latent.shape, generator=generator), sigmas_at(even, uniform(), self.shift)

    def answer_name(self, member: int, draw: int) -> str:
        """The entry of the base's answer."""
        latent = self.samples.keys[member].latent
        return entry_name(ANSWER, self.asked_as, str(self.shift), latent, self.text(member, draw), str(draw))


def reminders_of(run: Run, prepared: PreparedRun, pipeline: Pipeline, share: ProcessShare) -> Reminders:
    """Class images and base answers, made where the cache lacks them; the pipeline must hold no adapter yet. `share`:
    which of the processes that train together this is."""
    config, feedback = run.config, run.feedback
    render_class_images(run, prepared.class_images, pipeline)
    options = BatchOptions(
        batch_size=config.train.batch_size,
        seed=config.train.seed + 1,
        rank=share.rank,
        world_size=share.world_size,
    )
    side = config.data.resolution
    shapes = [(side, side) for _ in prepared.class_images]
    samples = preservation_samples(prepared.encoded, run.folder.cache, prepared.class_images)
    groups = group_by_shape(
        shapes or [(one.bucket.height, one.bucket.width) for one in prepared.dataset.planned.prepared]
    )
    groups = apart_by_traits(groups, samples.traits())
    questions = -(-config.train.steps // config.train.preservation_every)
    training = run.family.training_shift(pipeline.scheduler, width=side, height=side)
    reminders = Reminders(
        samples=samples,
        groups=groups,
        options=options,
        shift=NOISIER * training,
        asked_as=f"{run.transformer_fingerprint} {config.model.train_guidance} {run.precision}",
        draws=min(DRAWS, -(-questions // batches_per_epoch(groups, options.batch_size))),
    )
    velocity = run.family.velocity(pipeline.transformer, guidance=config.model.train_guidance)
    place = torch.zeros((), device=run.device.device, dtype=run.device.dtype)
    total = reminders.draws * len(reminders.samples)
    with feedback.progress("asking the base", keeps=True) as progress:
        for known in accumulate(ask_base(velocity, reminders, place)):
            progress(known, total, "")
    return replace(reminders, between_prompts=distance_between_prompts(velocity, reminders, place))


def preservation_of(
    config: TrainConfig, reminders: Reminders, dtype: torch.dtype, start: int, last: Checkpoint | None
) -> Preservation:
    """From step `start` on, with the weight that the last checkpoint kept; questions come in the model's dtype."""
    asked = -(-start // config.preservation_every)
    kept = progress_of(last) if last else {}
    return Preservation(
        made_ahead(ready(question, dtype) for question in reminder_questions(reminders, start=asked)),
        first=config.preservation,
        weight=kept.get(PRESERVATION_WEIGHT) or config.preservation,
        drift=kept.get(DRIFT, 0.0),
        every=config.preservation_every,
        limit=tightening(config.max_drift * reminders.between_prompts, config.steps) if config.max_drift else None,
    )


def ask_base(base: Velocity, reminders: Reminders, place: Tensor) -> Iterator[int]:
    """Answer what the cache lacks, yielding how many more are known; `base` must have no adapter in it, and `place`
    says its device and dtype."""
    folder, size = reminders.samples.folder, AT_ONCE * reminders.options.batch_size
    for draw, group in product(range(reminders.draws), reminders.groups):
        members = sorted(set(group))
        missing = [one for one in members if not has_entry(folder, reminders.answer_name(one, draw))]
        yield len(members) - len(missing)
        for first in range(0, len(missing), size):
            chunk = missing[first : first + size]
            for member, answer in zip(chunk, _answers(base, reminders, chunk, draw, place), strict=True):
                write_entry(folder, reminders.answer_name(member, draw), {ANSWER: answer})
            yield len(chunk)


def reminder_questions(reminders: Reminders, *, start: int) -> Iterator[Asked]:
    """Batches of questions with the base's answers, from number `start` on, without end."""
    options, epoch = reminders.options, batches_per_epoch(reminders.groups, reminders.options.batch_size)
    for number in count(start):
        members = sample_indices_at(reminders.groups, options.batch_size, options.seed, number)
        yield _asked(reminders, members, number // epoch % reminders.draws)


@torch.no_grad()
def distance_between_prompts(base: Velocity, reminders: Reminders, place: Tensor) -> float:
    """Mean squared difference of the base's answers to a reminder's own prompt and to another's: the unit of drift."""
    group = max((sorted(set(group)) for group in reminders.groups), key=len)[:COMPARED]
    differences = []
    for member, other in zip(group, group[1:] + group[:1], strict=True):
        if reminders.text(member, 0) != reminders.text(other, 0):
            batch, point = placed(_question(reminders, [member], 0), place.device, place.dtype)
            said = reminders.prompt_embeds(other, 0).to(place.device, place.dtype)
            own, swapped = (base(point.noisy, point.sigma, each).float() for each in (batch.prompt_embeds, said))
            differences.append(float((own - swapped).square().mean()))
    return sum(differences) / len(differences) if differences else 1.0


@torch.no_grad()
def _answers(base: Velocity, reminders: Reminders, members: Sequence[int], draw: int, place: Tensor) -> Tensor:
    batch, point = placed(_question(reminders, members, draw), place.device, place.dtype)
    return base(point.noisy, point.sigma, batch.prompt_embeds, references=batch.references)


def _asked(reminders: Reminders, members: Sequence[int], draw: int) -> Asked:
    """This process's part of such a batch; one with nothing to do asks a question that counts for nothing."""
    options = reminders.options
    share = ProcessShare(options.rank, options.world_size)
    mine = share.of(members)
    batch, point = _question(reminders, mine or members[:1], draw)
    entries = [read_entry(reminders.samples.folder, reminders.answer_name(one, draw)) for one in mine or members[:1]]
    answers = torch.stack([entry[ANSWER] for entry in entries]).float()
    counts = torch.full((len(answers),), share.world_size / options.batch_size if mine else 0.0)
    whole = replace(batch, shares=counts, samples=tuple(members), share=share)
    return whole, FlowPoint(noisy=point.noisy, sigma=point.sigma, velocity=answers)


def _question(reminders: Reminders, members: Sequence[int], draw: int) -> Asked:
    latents = torch.stack([reminders.samples[member].latent for member in members])
    noise, sigma = (torch.stack(each) for each in zip(*(reminders.point(m, draw) for m in members), strict=True))
    texts = stack_prompt_embeds([reminders.prompt_embeds(member, draw) for member in members])
    return Batch(latents, texts), point_at(latents, noise, sigma)
