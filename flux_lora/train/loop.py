"""The training loop as a stream of facts: it takes things to call, and yields what happened. It writes nothing."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from math import isfinite
from time import perf_counter
from typing import TypeVar

import torch
from torch import Tensor

from flux_lora.data.batches import Batch
from flux_lora.errors import RunError
from flux_lora.flow.points import Draw, FlowPoint
from flux_lora.train.learner import Learner
from flux_lora.train.loss import flow_error, flow_loss, minimised
from flux_lora.train.preservation import Asked, Preservation

Item = TypeVar("Item")


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
    relative_loss: float = 0.0
    """The loss of each image as a share of the base's at that sigma, on average; 0 where that is not known."""
    samples: tuple[int, ...] = ()
    """Numbers of the images that were learned from."""
    sample_losses: tuple[float, ...] = ()
    """The loss of each of them, as a share of the base's at its sigma; as it is where that is not known."""
    sigmas: tuple[float, ...] = ()
    """The noise level at which each was asked about."""
    finite: bool = True
    """Whether loss and gradient were. Otherwise nothing has moved."""


class OnTheWay:
    """Numbers of a device that are copied to the host as soon as they are known, while it works on."""

    def __init__(self, *numbers: Tensor) -> None:
        known = torch.cat([each.detach().float().flatten() for each in numbers])
        self._copied = torch.cuda.Event() if known.is_cuda else None
        self._host = known
        if self._copied:
            self._host = torch.empty(known.shape, pin_memory=True)
            self._host.copy_(known, non_blocking=True)
            self._copied.record()

    def read(self) -> list[float]:
        """Wait for them, and for nothing that came after."""
        if self._copied:
            self._copied.synchronize()
        return self._host.tolist()


@dataclass
class Launched:
    """A step whose numbers may still be on their way."""

    number: int
    """Updates done, this one included."""
    learning_rate: float
    numbers: OnTheWay
    """Total loss, gradient norm, loss, drift, weight of preservation, relative loss, then the loss of each image and
    the sigma of each."""
    samples: tuple[int, ...]
    began: float
    ended: float = 0.0
    """When the next step began; until then 0."""

    def read(self) -> Step:
        """Wait for its numbers."""
        total, norm, loss, drift, weight, relative, *each = self.numbers.read()
        losses, sigmas = each[: len(each) // 2], each[len(each) // 2 :]
        return Step(
            number=self.number,
            loss=loss,
            grad_norm=norm,
            learning_rate=self.learning_rate,
            seconds=(self.ended or perf_counter()) - self.began,
            preservation=drift,
            preservation_weight=weight,
            relative_loss=relative,
            samples=self.samples,
            sample_losses=tuple(losses[: len(self.samples)]),
            sigmas=tuple(sigmas[: len(self.samples)]),
            finite=isfinite(total) and isfinite(norm),
        )


def training_steps(
    learner: Learner,
    batches: Iterator[Batch],
    draw: Draw,
    *,
    start: int = 0,
    preservation: Preservation | None = None,
) -> Iterator[Step]:
    """Update the learner once per item taken, and wait for its numbers. The caller decides when to stop.

    `start` counts the updates already done; `batches` begins with the first batch of the next one, of which each update
    takes as many as the learner's config accumulates. Raises RunError at a step that is not finite.
    """
    for launched in launched_steps(learner, batches, draw, start=start, preservation=preservation):
        step = launched.read()
        if not step.finite:
            raise RunError(
                f"step {step.number}: the loss is {step.loss:g} and the gradient's length {step.grad_norm:g}",
                fix="lower the learning rate; the adapter was not moved",
            )
        yield step


def launched_steps(
    learner: Learner,
    batches: Iterator[Batch],
    draw: Draw,
    *,
    start: int = 0,
    preservation: Preservation | None = None,
    expected: Callable[[Tensor], Tensor] | None = None,
) -> Iterator[Launched]:
    """The same without waiting: read a step's numbers once the next one is taken, and a GPU is never idle for them.

    `expected` takes sigmas B to the losses that the base has there, B.
    """
    place, launched, together = learner.parameters[0], None, learner.config.gradient_accumulation_steps
    relative = still = torch.zeros((), device=place.device)
    questions = made_ahead(_questions(batches, draw, start * together, place.dtype))
    for done in count(start):
        began = perf_counter()
        if launched:
            launched.ended = began
        learned = [_learned(learner, question, place) for question in islice(questions, together)]
        if not learned:
            return
        asks = preservation is not None and preservation.due(done)
        moved = _reminded(learner, preservation, place) if preservation and asks else still
        update = learner.step(done, torch.cat([moved[None], *_losses_and_sigmas(learned)]))
        losses, sigmas = update.numbers[1:].chunk(2)
        if preservation and asks:
            preservation.answered(update.numbers[0], done)
        drift, weight = (preservation.drift, preservation.weight) if preservation else (still, still)
        each = losses / expected(sigmas) if expected else losses
        relative = each.mean() if expected else relative
        kept = (drift.to(place.device), weight.to(place.device))
        numbers = OnTheWay(update.loss, update.grad_norm, losses.mean(), *kept, relative, each, sigmas)
        samples = tuple(number for one in learned for number in one.samples)
        launched = Launched(update.number, update.learning_rate, numbers, samples, began)
        yield launched


@dataclass(frozen=True)
class _Learned:
    """One batch whose gradients were added."""

    losses: Tensor  # of the whole batch, without a graph: 0 where another process has the image, as have sigmas
    sigmas: Tensor
    samples: tuple[int, ...]


def _learned(learner: Learner, question: Asked, place: Tensor) -> _Learned:
    """Add a batch's gradients. Its graph is gone before the next: activations are those of one question."""
    batch, point = placed(question, place.device, place.dtype)
    error = flow_error(learner.predict, batch, learner.answered_outside(batch, point))
    wrong, losses = minimised(error, batch, point.sigma, learner.config)
    learner.accumulate(_reduced(wrong, batch) / learner.config.gradient_accumulation_steps)
    return _Learned(batch.spread(losses.detach()), batch.spread(point.sigma), batch.samples)


def _losses_and_sigmas(learned: Sequence[_Learned]) -> list[Tensor]:
    return [*(one.losses for one in learned), *(one.sigmas for one in learned)]


def _reminded(learner: Learner, preservation: Preservation, place: Tensor) -> Tensor:
    """Add the gradients of a question that preserves; this process's part of how far the answers have moved."""
    reminder, point = placed(preservation.ask(), place.device, place.dtype)
    moved = flow_loss(learner.predict, reminder, point)
    learner.accumulate(preservation.pull * _reduced(moved, reminder))
    whole = reminder.spread(moved.detach())
    return whole.sum() / len(whole)


def made_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items, the next one made by another thread while the last is worked on."""
    nothing = object()
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, nothing)
        while (item := coming.result()) is not nothing:
            coming = thread.submit(next, items, nothing)
            yield item  # type: ignore[misc]


def placed(question: Asked, device: torch.device | str, dtype: torch.dtype) -> Asked:
    """The same question elsewhere."""
    batch, point = question
    return batch.to(device, dtype), point.to(device, dtype)


def ready(question: Asked, dtype: torch.dtype) -> Asked:
    """In the dtype that the model computes in, and in memory that a GPU reads without making the CPU wait."""
    batch, point = placed(question, "cpu", dtype)
    return (batch.pinned(), point.pinned()) if torch.cuda.is_available() else (batch, point)


def _questions(batches: Iterator[Batch], draw: Draw, start: int, dtype: torch.dtype) -> Iterator[Asked]:
    """What is drawn is drawn for the whole batch, so that an image is asked the same in whichever process it is."""
    for number, batch in enumerate(batches, start):
        point = draw(batch.spread(batch.latents.float()), number)
        own = FlowPoint(batch.here(point.noisy), batch.here(point.sigma), batch.here(point.velocity))
        yield ready((batch, own), dtype)


def _reduced(loss: Tensor, batch: Batch) -> Tensor:
    """What is minimised: each image counts alike, however full its batch is and whichever process it is on."""
    return loss.mean() if batch.shares is None else (loss * batch.shares.to(loss.device)).sum()
