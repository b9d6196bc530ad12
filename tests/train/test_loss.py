"""The loss."""

from dataclasses import replace

import pytest
import torch

from flux_lora.config.choices import LossType, LossWeighting
from flux_lora.config.schema import TrainConfig
from flux_lora.data.batches import Batch
from flux_lora.flow.points import point_at
from flux_lora.models.family import PromptEmbeds
from flux_lora.train.loss import bell, flow_error, flow_loss, minimised, pseudo_huber

LATENTS, NOISE = torch.randn(2, 16, 4, 4), torch.randn(2, 16, 4, 4)
TEXT = PromptEmbeds({"t5": torch.zeros(2, 1, 1), "pooled": torch.zeros(2, 1)})
BATCH = Batch(latents=LATENTS, prompt_embeds=TEXT)
POINT = point_at(LATENTS, NOISE, torch.tensor([0.2, 0.7]))


def test_the_right_answer_costs_nothing():
    assert torch.equal(flow_loss(lambda *_, **__: POINT.velocity, BATCH, POINT), torch.zeros(2))


def test_there_is_one_number_per_image():
    off = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1)
    losses = flow_loss(lambda *_, **__: POINT.velocity + off, BATCH, POINT)
    torch.testing.assert_close(losses, torch.tensor([1.0, 9.0]))


def test_bf16_answers_are_judged_in_fp32():
    losses = flow_loss(lambda *_, **__: POINT.velocity.bfloat16(), BATCH, POINT)
    assert losses.dtype == torch.float32 and 0 < losses.max() < 1e-4


def test_a_mask_of_ones_changes_nothing():
    answer = POINT.velocity + torch.randn(2, 16, 4, 4)
    masked = flow_loss(lambda *_, **__: answer, replace(BATCH, loss_weights=torch.ones(2, 1, 4, 4)), POINT)
    torch.testing.assert_close(masked, flow_loss(lambda *_, **__: answer, BATCH, POINT))


def test_what_a_mask_leaves_out_may_be_anything():
    weights = torch.ones(2, 1, 4, 4)
    weights[:, :, :2] = 0
    wrong_above = POINT.velocity.clone()
    wrong_above[:, :, :2] += 100
    losses = flow_loss(lambda *_, **__: wrong_above, replace(BATCH, loss_weights=weights), POINT)
    assert torch.equal(losses, torch.zeros(2))


def test_a_small_mask_counts_as_much_as_a_large_one():
    weights = torch.zeros(2, 1, 4, 4)
    weights[0, 0, 0, 0] = 1
    weights[1] = 1
    losses = flow_loss(lambda *_, **__: POINT.velocity + 2, replace(BATCH, loss_weights=weights), POINT)
    torch.testing.assert_close(losses, torch.full((2,), 4.0))


def test_a_plain_recipe_makes_the_flow_matching_loss_small():
    answer = POINT.velocity + torch.randn(2, 16, 4, 4)
    masked = replace(BATCH, loss_weights=torch.rand(2, 1, 4, 4))
    error = flow_error(lambda *_, **__: answer, masked, POINT)
    made_small, reported = minimised(error, masked, POINT.sigma, TrainConfig(steps=1))
    assert torch.equal(made_small, reported)
    assert torch.equal(made_small, flow_loss(lambda *_, **__: answer, masked, POINT))


def test_huber_is_squared_where_errors_are_small_and_straight_where_they_are_large():
    errors = torch.tensor([1e-3, -1e-3, 50.0, -50.0], dtype=torch.float64)
    near, _, far, _ = pseudo_huber(errors, 0.1).tolist()
    assert near == pytest.approx(1e-6, rel=1e-3)
    assert far == pytest.approx(2 * 0.1 * (50 - 0.1), rel=1e-4)
    error = torch.full((2, 16, 4, 4), 50.0)
    huber = TrainConfig(steps=1, loss_type=LossType.huber)
    made_small, reported = minimised(error, BATCH, POINT.sigma, huber)
    assert made_small.tolist() == pytest.approx([far, far])
    assert reported.tolist() == [2500.0, 2500.0]


def test_the_bell_counts_the_middle_most_the_ends_not_at_all_and_one_on_average():
    even = (torch.arange(10_000) + 0.5) / 10_000
    assert bell(even).mean().item() == pytest.approx(1, abs=1e-4)
    assert bell(even).argmax().item() in (4999, 5000)
    assert bell(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0, 0], abs=1e-6)
    error, config = torch.ones(2, 16, 4, 4), TrainConfig(steps=1, loss_weighting=LossWeighting.bell)
    assert torch.equal(minimised(error, BATCH, POINT.sigma, config)[0], bell(POINT.sigma))


def test_what_an_image_is_made_from_is_shown_to_the_model():
    shown: list[tuple[torch.Tensor, ...]] = []

    def predict(*_: object, references: tuple[torch.Tensor, ...] = ()) -> torch.Tensor:
        shown.append(references)
        return POINT.velocity

    reference = torch.ones_like(BATCH.latents)
    flow_loss(predict, replace(BATCH, references=(reference,)), POINT)
    assert len(shown) == 1 and torch.equal(*shown[0], reference)
