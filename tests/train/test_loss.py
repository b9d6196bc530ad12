"""The loss."""

import torch

from flux_lora.data.batches import Batch
from flux_lora.flow.points import point_at
from flux_lora.models.family import Text
from flux_lora.train.loss import flow_loss

LATENTS, NOISE = torch.randn(2, 16, 4, 4), torch.randn(2, 16, 4, 4)
TEXT = Text(t5=torch.zeros(2, 1, 1), pooled=torch.zeros(2, 1))
BATCH = Batch(latents=LATENTS, text=TEXT, plain=TEXT)
POINT = point_at(LATENTS, NOISE, torch.tensor([0.2, 0.7]))


def test_the_right_answer_costs_nothing():
    assert torch.equal(flow_loss(lambda *_: POINT.velocity, BATCH, POINT), torch.zeros(2))


def test_there_is_one_number_per_image():
    off = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    losses = flow_loss(lambda *_: POINT.velocity + off, BATCH, POINT)
    torch.testing.assert_close(losses, torch.tensor([1.0, 9.0]))


def test_bf16_answers_are_judged_in_fp32():
    losses = flow_loss(lambda *_: POINT.velocity.bfloat16(), BATCH, POINT)
    assert losses.dtype == torch.float32 and 0 < losses.max() < 1e-4
