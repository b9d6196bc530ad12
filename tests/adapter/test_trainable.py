"""What is trained of a layer, and the delta that its values are."""

import torch
from torch import nn

from flux_lora.adapter.layer_types import LoRA
from flux_lora.adapter.trainable import TrainableLoRA

DELTA = LoRA(down=torch.randn(2, 3), up=torch.randn(5, 2), alpha=0.75)


def layer() -> TrainableLoRA:
    return TrainableLoRA(down=nn.Parameter(torch.zeros(2, 3)), up=nn.Parameter(torch.zeros(5, 2)), alpha=0.75)


def test_the_values_of_a_delta_make_that_delta_again():
    again = layer().delta(layer().values(DELTA))
    assert isinstance(again, LoRA)
    assert torch.equal(again.down, DELTA.down) and torch.equal(again.up, DELTA.up) and again.alpha == DELTA.alpha


def test_the_delta_of_some_values_has_those_values():
    values = (torch.randn(2, 3), torch.randn(5, 2))
    again = layer().values(layer().delta(values))
    assert len(again) == 2 and all(torch.equal(left, right) for left, right in zip(values, again, strict=True))


def test_values_come_in_the_order_of_the_parameters():
    shapes = [tuple(value.shape) for value in layer().values(DELTA)]
    assert [tuple(parameter.shape) for parameter in layer().parameters] == shapes
