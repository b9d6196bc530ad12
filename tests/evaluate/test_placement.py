"""Laying a subject's outline over images."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import max_pool2d

from flux_lora.evaluate.placement import greatest_within


@given(st.integers(0, 40), st.integers(1, 2), st.integers(0, 2**32))
def test_the_greatest_within_a_radius_is_that_of_max_pooling(radius: int, dim: int, seed: int):
    values = torch.randn(3, 32, 32, generator=torch.Generator().manual_seed(seed))
    kernel, padding = ((2 * radius + 1, 1), (radius, 0)) if dim == 1 else ((1, 2 * radius + 1), (0, radius))
    expected = max_pool2d(values[None], kernel, stride=1, padding=padding)[0]
    assert torch.equal(greatest_within(values, radius, dim=dim), expected)
