"""The training loop as a stream of facts: it takes things to call, and yields what happened. It writes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Tensor

from flux_lora.data.batches import Batch
from flux_lora.flow.points import Draw, FlowPoint
from flux_lora.train.learner import Learner
from flux_lora.train.loss import flow_loss
from flux_lora.train.preservation import Preservation


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
    """How far the base's answers moved where the trigger is not said, when that was last asked: a mean squared
    velocity error, before its weight."""
    preservation_weight: float = 0.0
    """What that counts beside the loss, after this step."""


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
    place, drift = learner.parameters[0], 0.0
    for done, batch in enumerate(batches, start):
        began = perf_counter()
        question = _noised(batch, draw, done, place)
        losses = flow_loss(learner.predict, *question)
        learner.accumulate(_reduced(losses, batch))  # its graph is gone before the next: one question's activations
        if preservation and preservation.due(done):
            reminder, point = preservation.ask()
            asked = reminder.to(place.device, place.dtype), point.to(place.device, place.dtype)
            moved = flow_loss(learner.predict, *asked)
            learner.accumulate(preservation.pull * _reduced(moved, asked[0]))
            drift = moved.detach().mean().item()
            preservation.answered(drift)
        update = learner.step(done)
        yield Step(
            number=done + 1,
            loss=losses.detach().mean().item(),
            grad_norm=update.grad_norm,
            learning_rate=update.learning_rate,
            seconds=perf_counter() - began,
            preservation=drift,
            preservation_weight=preservation.weight if preservation else 0.0,
        )


def _noised(batch: Batch, draw: Draw, number: int, place: Tensor) -> tuple[Batch, FlowPoint]:
    """A batch and a question about it, where the learner computes; the answer stays float32."""
    point = draw(batch.latents.to(place.device, torch.float32), number)
    return batch.to(place.device, place.dtype), point.to(place.device, place.dtype)


def _reduced(loss: Tensor, batch: Batch) -> Tensor:
    """What is minimised: each image counts alike, however full its batch is and whichever process it is on."""
    return loss.mean() if batch.shares is None else (loss * batch.shares.to(loss.device)).sum()
