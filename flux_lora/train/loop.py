"""The training loop as a stream of facts: it takes things to call, and yields what happened. It writes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from torch import Tensor

from flux_lora.data.batches import Batch
from flux_lora.flow.points import Draw, FlowPoint
from flux_lora.train.learner import Learner
from flux_lora.train.loss import Preservation, flow_loss, preservation_loss


@dataclass(frozen=True)
class Step:
    """What one optimizer update did."""

    number: int
    """Updates done, this one included."""
    loss: float
    """Of learning alone: the flow-matching loss."""
    grad_norm: float
    """Of all that was asked for, before clipping."""
    learning_rate: float
    seconds: float
    preservation: float = 0.0
    """How far the base's answers moved where the trigger is not said: the preservation loss before its weight."""


def training_steps(
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
        question = _noised(batch, draw, done, place)
        losses = flow_loss(learner.predict, *question)
        learner.accumulate(
            _reduced(losses, batch)
        )  # its graph is gone before the next is made: activations of one question at a time
        moved = losses.new_zeros(())
        if preservation:
            asked = _noised(next(preservation.batches), preservation.draw, done, place)
            moved = _reduced(preservation_loss(learner.predict, preservation.base, *asked), asked[0])
            learner.accumulate(preservation.weight * moved)
        update = learner.step(done)
        yield Step(
            number=done + 1,
            loss=losses.detach().mean().item(),
            grad_norm=update.grad_norm,
            learning_rate=update.learning_rate,
            seconds=perf_counter() - began,
            preservation=moved.item(),
        )


def _noised(batch: Batch, draw: Draw, number: int, place: Tensor) -> tuple[Batch, FlowPoint]:
    """A batch and a question about it, where the learner computes; the answer stays float32."""
    point = draw(batch.latents.to(place.device, torch.float32), number)
    return batch.to(place.device, place.dtype), replace(point, noisy=point.noisy.to(place.dtype))


def _reduced(loss: Tensor, batch: Batch) -> Tensor:
    """What is minimised: each image counts alike, however full its batch is and whichever process it is on."""
    return loss.mean() if batch.shares is None else (loss * batch.shares.to(loss.device)).sum()
