"""Holding the adapter to what the base answers where the trigger is not said: within a limit, not by a weight alone.

Differential output preservation, as ai-toolkit calls it: beside training questions the adapter is asked about an image
whose caption does not say the trigger, and held to what the base answers there. An ordinary bottle then stays an
ordinary bottle. The reminders are images of ordinary things that the base has made. They are asked about at high
sigmas: what an open prompt becomes is settled in the first, noisiest steps. But at the guidance of training: at
another, the adapter would tell the two apart by the guidance instead of by the trigger, and show nothing new.

One weight does not fit all: what holds one subject smothers the next. So the weight is a multiplier (dual variable) of
a constraint, drift <= limit, and follows it in small exponential steps, as in Lagrangian methods of multipliers
(Bertsekas, "Constrained Optimization and Lagrange Multiplier Methods", 1982). The limit is wide at first, when the new
and the ordinary cannot be told apart yet, and tightens to its end: held firmly from the start, nothing is learned.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from flux_lora.data.batches import Batch
from flux_lora.flow.points import FlowPoint

Asked = tuple[Batch, FlowPoint]
"""A question with the base's answer in place of the velocity."""
PACE = 0.05
"""Of the logarithm of the weight, for a drift of twice the limit: twenty such answers make it 2.7 times as large."""
WIDER = 6.0
"""How many times the limit is allowed before the first step."""
SPAN = 30.0
"""How far the weight goes from where it began, at most, either way."""


def tightening(limit: float, steps: int) -> Callable[[int], float]:
    """A limit that is WIDER at first and comes down evenly, by ratio, to what it is after so many steps."""
    return lambda done: limit * WIDER ** max(0.0, 1 - done / steps)


class Preservation:
    """What is asked, how often, and how much staying with the base counts beside learning."""

    def __init__(
        self,
        questions: Iterator[Asked],
        *,
        first: float,
        weight: float,
        drift: float = 0.0,
        every: int = 1,
        limit: Callable[[int], float] | None = None,
    ) -> None:
        """`first` is the weight that the run began with, and `weight` what it is now, as `drift` is what was answered
        last. `every`: updates from one question to the next. `limit`: updates done -> the mean squared velocity error
        that is allowed; None leaves the weight alone."""
        self._questions, self._every, self._limit = questions, every, limit
        self._first, self.weight, self.drift = first, torch.tensor(float(weight)), torch.tensor(float(drift))

    def due(self, done: int) -> bool:
        """Whether the update that follows `done` updates asks a question."""
        return done % self._every == 0

    def ask(self) -> Asked:
        """The next question."""
        return next(self._questions)

    @property
    def pull(self) -> Tensor:
        """What the loss of a question is multiplied by: rarer questions count for the updates between them."""
        return self.weight * self._every

    def answered(self, drift: Tensor, done: int) -> Tensor:
        """Follow the limit: more weight above it, less below; a drift that is not finite changes nothing. All of it on
        the drift's device, so nothing waits."""
        known = torch.isfinite(drift)
        self.weight, self.drift = self.weight.to(drift.device), torch.where(known, drift, self.drift.to(drift.device))
        if self._limit:
            excess = (drift / self._limit(done) - 1).clamp(max=1)
            followed = (self.weight * torch.exp(PACE * excess)).clamp(self._first / SPAN, self._first * SPAN)
            self.weight = torch.where(known, followed, self.weight)
        return self.weight
