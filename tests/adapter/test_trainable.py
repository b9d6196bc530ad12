"""What is trained of a layer, and the delta that its values are."""

import pytest
import torch
from torch import Generator, nn

from flux_lora.adapter.fresh import fresh_delta
from flux_lora.adapter.layer_types import LayerDelta, map_tensors, tensors_in
from flux_lora.adapter.trainable import TrainableLayer
from flux_lora.config.choices import AdapterKind

KINDS = pytest.mark.parametrize("kind", AdapterKind)


def delta(kind: AdapterKind) -> LayerDelta:
    return fresh_delta(kind, (48, 32), 2, Generator().manual_seed(0))


def layer(kind: AdapterKind) -> TrainableLayer:
    return TrainableLayer(map_tensors(delta(kind), lambda tensor: nn.Parameter(torch.zeros_like(tensor))))


@KINDS
def test_the_values_of_a_delta_make_that_delta_again(kind: AdapterKind):
    whole = delta(kind)
    again = layer(kind).delta(layer(kind).values(whole))
    assert type(again) is type(whole)
    assert all(torch.equal(left, right) for left, right in zip(tensors_in(again), tensors_in(whole), strict=True))


@KINDS
def test_the_delta_of_some_values_has_those_values(kind: AdapterKind):
    values = tuple(torch.randn(tensor.shape) for tensor in tensors_in(delta(kind)))
    again = layer(kind).values(layer(kind).delta(values))
    assert all(torch.equal(left, right) for left, right in zip(values, again, strict=True))


@KINDS
def test_values_come_in_the_order_of_the_parameters(kind: AdapterKind):
    shapes = [tuple(value.shape) for value in layer(kind).values(delta(kind))]
    assert [tuple(parameter.shape) for parameter in layer(kind).parameters] == shapes
