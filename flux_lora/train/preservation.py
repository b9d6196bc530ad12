"""Keep the base as it was where the trigger is not said.

Differential output preservation, as ai-toolkit calls it: beside each training question the same
noisy picture is shown with its caption less the trigger, and the adapter is held to what the base
answers there. An ordinary bottle then stays an ordinary bottle.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from flux_lora.data.batches import Batch
from flux_lora.flow.points import FlowPoint
from flux_lora.models.family import Text, Velocity


@dataclass(frozen=True)
class Preservation:
    """The base's own velocity, and how much staying with it counts beside learning; 0 leaves it out."""

    base: Velocity
    weight: float


def drift(predict: Velocity, base: Velocity, batch: Batch, point: FlowPoint) -> Tensor:
    """How far the adapter moves the base's answer to the plain captions, one number per image: B, float32."""
    with torch.no_grad():
        wanted = base(point.noisy, point.time, batch.plain).float()
    error = predict(point.noisy, point.time, batch.plain).float() - wanted
    return error.square().mean(dim=(1, 2, 3))


def quiet(predict: Velocity, set_strength: Callable[[float], None]) -> Velocity:
    """The same velocity with the adapter silent."""

    def base(noisy: Tensor, time: Tensor, text: Text) -> Tensor:
        set_strength(0.0)
        try:
            return predict(noisy, time, text)
        finally:
            set_strength(1.0)

    return base
