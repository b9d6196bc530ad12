"""The tiny recipe's first eight losses. Changing them is a decision, said in the changelog.

A refactor keeps them. Other CPUs round a little differently, so the last digits are left open.
"""

from itertools import islice

import pytest
import torch

from tests.train.tiny_run import tiny_run

LOSSES = {
    torch.float32: (2.396822, 2.3820915, 2.3781254, 2.5087748, 2.5412083, 2.211478, 2.3351235, 2.2159071),
    torch.bfloat16: (2.3977766, 2.3856394, 2.3782616, 2.5081787, 2.5437374, 2.213887, 2.3354292, 2.2139015),
}
CLOSE = {torch.float32: 1e-5, torch.bfloat16: 1e-2}


@pytest.mark.parametrize("dtype", list(LOSSES))
def test_the_tiny_run_has_the_same_losses_as_ever(dtype: torch.dtype):
    losses = [step.loss for step in islice(tiny_run(dtype).steps(), 8)]
    assert losses == pytest.approx(LOSSES[dtype], rel=CLOSE[dtype])
