"""The flow-matching loss, and the preservation loss that holds the adapter to the base where the trigger is not said.

Differential output preservation, as ai-toolkit calls it: beside each training question the adapter
is asked about an image whose caption does not say the trigger, and held to what the base answers
there. An ordinary bottle then stays an ordinary bottle. The reminders are the training images
themselves, and images that the base has made: the adapter is then also held where ordinary things
are drawn, not only where the new thing is. They are asked about at the times of rendering: what an open
prompt becomes is settled in the first, noisiest steps. But at the guidance of training: at another, the
adapter would tell the two apart by the guidance instead of by the trigger, and show nothing new.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from flux_lora.data.batches import Batch
from flux_lora.flow.points import Draw, FlowPoint
from flux_lora.models.family import PromptEmbeds, Velocity


def flow_loss(predict: Velocity, batch: Batch, point: FlowPoint) -> Tensor:
    """How wrong the predicted velocity is, one number per image: B, float32.

    Where an image has a mask, each place counts by its weight: sum(error * weight) / sum(weight).
    """
    error = predict(point.noisy, point.sigma, batch.prompt_embeds).float() - point.velocity
    if batch.loss_weights is None:
        return error.square().mean(dim=(1, 2, 3))
    weights = batch.loss_weights.float()
    each = error.square().mean(dim=1, keepdim=True)  # B1HW
    return (each * weights).sum(dim=(1, 2, 3)) / weights.sum(dim=(1, 2, 3))


@dataclass(frozen=True)
class Preservation:
    """The base's own velocity, what it is asked about, and how much staying with it counts beside learning."""

    base: Velocity
    batches: Iterator[Batch]
    """Images whose captions do not say the trigger, one batch for each update still to come."""
    draw: Draw
    weight: float


def preservation_loss(predict: Velocity, base: Velocity, batch: Batch, point: FlowPoint) -> Tensor:
    """How far the adapter moves the base's answer, one number per image: B, float32."""
    with torch.no_grad():
        wanted = base(point.noisy, point.sigma, batch.prompt_embeds).float()
    error = predict(point.noisy, point.sigma, batch.prompt_embeds).float() - wanted
    return error.square().mean(dim=(1, 2, 3))


def without_adapter(predict: Velocity, set_strength: Callable[[float], None]) -> Velocity:
    """The base's velocity: `predict` at adapter strength 0."""

    def base(
        noisy: Tensor, sigma: Tensor, prompt_embeds: PromptEmbeds, /, *, references: Sequence[Tensor] = ()
    ) -> Tensor:
        set_strength(0.0)
        try:
            return predict(noisy, sigma, prompt_embeds, references=references)
        finally:
            set_strength(1.0)

    return base
