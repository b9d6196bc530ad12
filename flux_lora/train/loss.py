"""The flow-matching loss."""

from torch import Tensor

from flux_lora.data.batches import Batch
from flux_lora.flow.points import FlowPoint
from flux_lora.models.family import Velocity


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
