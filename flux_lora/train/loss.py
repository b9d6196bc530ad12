"""The flow-matching loss, and what of it is minimised.

Shape letters: B batch, C latent channels, H W latent height and width.
"""

import math

import torch
from torch import Tensor

from flux_lora.config.choices import LossType, LossWeighting
from flux_lora.config.schema import TrainConfig
from flux_lora.data.batches import Batch
from flux_lora.flow.points import FlowPoint
from flux_lora.models.family import Velocity

BELL_MEAN = 0.249094
"""Mean over (0, 1) of the bell before it is divided by it."""


def flow_loss(predict: Velocity, batch: Batch, point: FlowPoint) -> Tensor:
    """How wrong the predicted velocity is, a mean squared error per image: B, float32.

    Where an image has a mask, each place counts by its weight: sum(error * weight) / sum(weight).
    """
    return weighed(flow_error(predict, batch, point).square(), batch.loss_weights)


def flow_error(predict: Velocity, batch: Batch, point: FlowPoint) -> Tensor:
    """Predicted minus true velocity: BCHW, float32."""
    return predict(point.noisy, point.sigma, batch.prompt_embeds, references=batch.references).float() - point.velocity


def weighed(errors_BCHW: Tensor, weights_B1HW: Tensor | None) -> Tensor:
    """The mean of each image, B; by the weight of each place where there are weights."""
    if weights_B1HW is None:
        return errors_BCHW.mean(dim=(1, 2, 3))
    weights = weights_B1HW.float()
    return (errors_BCHW.mean(dim=1, keepdim=True) * weights).sum(dim=(1, 2, 3)) / weights.sum(dim=(1, 2, 3))


def minimised(error_BCHW: Tensor, batch: Batch, sigma: Tensor, config: TrainConfig) -> tuple[Tensor, Tensor]:
    """What a recipe makes small, per image, B; and the flow-matching loss, which it is without other settings."""
    loss = each = weighed(error_BCHW.square(), batch.loss_weights)
    if config.loss_type is LossType.huber:
        each = weighed(pseudo_huber(error_BCHW, config.huber_c), batch.loss_weights)
    return each * bell(sigma) if config.loss_weighting is LossWeighting.bell else each, loss


def pseudo_huber(error: Tensor, c: float) -> Tensor:
    """Squared where an error is small beside c, straight beyond it: 2 c (sqrt(e^2 + c^2) - c).

    As diffusers' training scripts and sd-scripts have it for `huber`.
    """
    return 2 * c * ((error.square() + c * c).sqrt() - c)


def bell(sigma: Tensor) -> Tensor:
    """Weights of noise levels, most in the middle and 1 on average over even sigmas.

    exp(-2 (sigma - 1/2)^2) less its value at both ends, as the `weighted` timesteps of ai-toolkit.
    """
    return (torch.exp(-2 * (sigma - 0.5).square()) - math.exp(-0.5)) / BELL_MEAN
