"""How wrong a predicted velocity is."""

from torch import Tensor

from flux_lora.data.batches import Batch
from flux_lora.flow.points import FlowPoint
from flux_lora.models.family import Velocity


def flow_loss(predict: Velocity, batch: Batch, point: FlowPoint) -> Tensor:
    """How wrong the predicted velocity is, one number per image: B, float32."""
    error = predict(point.noisy, point.time, batch.text).float() - point.velocity
    return error.square().mean(dim=(1, 2, 3))
