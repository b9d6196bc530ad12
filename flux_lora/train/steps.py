"""The loop as a stream of facts: it takes things to call, and yields what happened. It writes nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from torch import Tensor

from flux_lora.data.batches import Batch
from flux_lora.flow.points import FlowPoint, draw_point
from flux_lora.flow.randomness import generator_for
from flux_lora.flow.times import TimeSampler
from flux_lora.train.learner import Learner
from flux_lora.train.loss import flow_loss
from flux_lora.train.preservation import Preservation, drift

Draw = Callable[[Tensor, int], FlowPoint]
"""(latents BCHW, number of the batch) -> a question about them"""


@dataclass(frozen=True)
class Step:
    """What one optimizer update did."""

    number: int
    """Updates done, this one included."""
    loss: float
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    seconds: float


def counted_draw(seed: int, sample_times: TimeSampler) -> Draw:
    """Questions that depend on the seed and the batch's number alone, so that resuming changes nothing."""

    def draw(latents: Tensor, number: int) -> FlowPoint:
        return draw_point(latents, sample_times, generator_for(seed, number, "flow"))

    return draw


def train(
    learner: Learner,
    batches: Iterator[Batch],
    draw: Draw,
    *,
    start: int = 0,
    preservation: Preservation | None = None,
) -> Iterator[Step]:
    """Update the learner once per item taken. The caller decides when to stop.

    `start` counts the updates already done; `batches` begins with batch number `start`.
    """
    place = learner.parameters[0]
    for done, batch in enumerate(batches, start):
        began = perf_counter()
        point = draw(batch.latents.to(place.device, torch.float32), done)
        question = replace(point, noisy=point.noisy.to(place.dtype))
        batch = batch.to(place.device, place.dtype)
        loss = flow_loss(learner.predict, batch, question).mean()
        if preservation and preservation.weight:
            loss = loss + preservation.weight * drift(learner.predict, preservation.base, batch, question).mean()
        update = learner.update(done, loss)
        yield Step(
            number=done + 1,
            loss=update.loss,
            grad_norm=update.grad_norm,
            learning_rate=update.learning_rate,
            seconds=perf_counter() - began,
        )
