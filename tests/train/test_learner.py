"""One update at a time."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch import Tensor

from flux_lora.adapter.attach import adapter_of
from flux_lora.adapter.layer_types import rounded
from flux_lora.data.batches import Batch
from flux_lora.flow.points import FlowPoint, counted_draw
from flux_lora.flow.sigmas import logit_normal
from flux_lora.train.loss import flow_error, flow_loss, weighed
from tests.train.tiny_run import CONFIG, TinyRun, tiny_batches, tiny_run


def test_in_fp32_the_parameters_are_the_masters():
    learner = tiny_run().learner
    assert all(one is other for one, other in zip(learner.parameters, learner.masters, strict=True))


def test_in_bf16_masters_are_fp32_and_the_model_holds_them_rounded():
    run = tiny_run(torch.bfloat16)
    list(islice(run.steps(), 3))
    assert {master.dtype for master in run.learner.masters} == {torch.float32}
    assert {parameter.dtype for parameter in run.learner.parameters} == {torch.bfloat16}
    held, truth = adapter_of(run.transformer).layers, rounded(run.learner.adapter(), torch.bfloat16).layers
    assert all(torch.equal(held[name].up, truth[name].up) for name in truth)


def test_updates_too_small_for_bf16_still_add_up():
    run = tiny_run(torch.bfloat16, replace(CONFIG, learning_rate=1e-6, warmup_steps=0))
    name = next(iter(run.learner.layers))
    before = run.learner.adapter().layers[name].down
    list(islice(run.steps(), 3))
    after = run.learner.adapter().layers[name].down
    assert (before != after).float().mean() > 0.9
    assert (before.bfloat16() == after.bfloat16()).float().mean() > 0.9


def test_the_base_does_not_move():
    run = tiny_run()
    base = {name: value.clone() for name, value in run.transformer.state_dict().items() if "lora_" not in name}
    list(islice(run.steps(), 2))
    after = run.transformer.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in base.items())


def test_clipping_bounds_what_the_optimizer_sees_and_reports_the_true_length():
    free, clipped = (
        tiny_run(config=replace(CONFIG, max_grad_norm=1e9)),
        tiny_run(config=replace(CONFIG, max_grad_norm=1e-3)),
    )
    one, other = next(free.steps()), next(clipped.steps())
    assert one.grad_norm == other.grad_norm > 1e-3
    moments = [state["exp_avg"].norm() ** 2 for state in clipped.learner.optimizer.state.values()]
    assert torch.stack(moments).sum().sqrt().item() == pytest.approx(1e-4, rel=0.01)  # (1 - beta) * max_grad_norm


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_loss_that_is_not_finite_stops_before_anything_moves(dtype: torch.dtype):
    run = tiny_run(dtype)
    next(run.steps())
    learner = run.learner
    before = [value.clone() for value in (*learner.masters, *learner.parameters)]
    moments = [state["exp_avg"].clone() for state in learner.optimizer.state.values()]
    loss = sum(parameter.float().sum() for parameter in learner.parameters) * float("nan")
    learner.accumulate(loss)
    update = learner.step(1)
    assert update.number == 2 and update.loss.isnan()
    for value, old in zip((*learner.masters, *learner.parameters), before, strict=True):
        assert torch.equal(value, old)
    for state, old in zip(learner.optimizer.state.values(), moments, strict=True):
        assert torch.equal(state["exp_avg"], old)


def test_a_gradient_that_is_not_finite_stops_though_the_loss_is_fine():
    learner = tiny_run().learner
    loss = sum(parameter.float().abs().sqrt().sum() for parameter in learner.parameters)  # slope is infinite at 0
    before = learner.adapter()
    learner.accumulate(loss)
    update = learner.step(0)
    assert update.loss.isfinite() and not update.grad_norm.isfinite()
    name = next(iter(learner.layers))
    assert torch.equal(learner.adapter().layers[name].up, before.layers[name].up)


def test_the_adapter_handed_out_is_a_copy():
    run = tiny_run()
    before = run.learner.adapter()
    next(run.steps())
    assert all(not layer.up.any() for layer in before.layers.values())


def half_masked(seed: int) -> tuple[Batch, FlowPoint]:
    """A question whose photos count in their upper half only."""
    batch = next(tiny_batches())
    masks = torch.zeros_like(batch.latents[:, :1])
    masks[:, :, :2] = 1
    weights = 0.5 + 0.5 * masks
    return replace(batch, masks=masks, loss_weights=weights), counted_draw(seed, logit_normal())(batch.latents, 0)


def test_outside_of_a_mask_the_answer_is_the_bases_and_inside_the_photos():
    run, (batch, point) = tiny_run(), half_masked(0)
    with torch.no_grad():
        base = run.learner.predict(point.noisy, point.sigma, batch.prompt_embeds)  # its adapter is still nothing
    list(islice(run.steps(), 4))
    with torch.no_grad():
        trained = run.learner.predict(point.noisy, point.sigma, batch.prompt_embeds)
        asked = run.learner.answered_outside(batch, point)
        assert torch.equal(run.learner.predict(point.noisy, point.sigma, batch.prompt_embeds), trained)
    assert not torch.equal(base, trained)
    torch.testing.assert_close(asked.velocity[:, :, 2:], base[:, :, 2:])
    torch.testing.assert_close(asked.velocity[:, :, :2], point.velocity[:, :, :2])
    assert run.learner.answered_outside(replace(batch, masks=None), point) is point


def test_an_adapter_that_is_nothing_yet_is_pulled_by_the_inside_of_masks_alone():
    photo_outside, base_outside, inside = tiny_run(), tiny_run(), tiny_run()
    batch, point = half_masked(1)
    blank = replace(batch, loss_weights=batch.masks)
    pairs = ((photo_outside, replace(batch, masks=None)), (base_outside, batch), (inside, blank))
    for run, asked in pairs:
        error = flow_error(run.learner.predict, asked, run.learner.answered_outside(asked, point))
        (weighed(error.square(), asked.loss_weights) * asked.loss_weights.sum(dim=(1, 2, 3))).sum().backward()
    grads = [torch.cat([each.grad.flatten() for each in run.learner.parameters]) for run, _ in pairs]
    torch.testing.assert_close(grads[1], grads[2], rtol=1e-4, atol=1e-6)
    assert not torch.allclose(grads[0], grads[2], rtol=1e-2)


def a_loss(run: TinyRun, dtype: torch.dtype) -> Tensor:
    """The mean loss of the first batch, where the learner is now."""
    batch = next(tiny_batches())
    point = counted_draw(0, logit_normal())(batch.latents, 0)
    asked = replace(point, noisy=point.noisy.to(dtype))
    return flow_loss(run.learner.predict, batch.to("cpu", dtype), asked).mean()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_two_accumulations_of_half_the_loss_make_the_step_of_the_whole(dtype: torch.dtype):
    whole, halves = tiny_run(dtype), tiny_run(dtype)
    next(whole.steps())
    next(halves.steps())
    whole.learner.accumulate(a_loss(whole, dtype))
    one = whole.learner.step(1)
    for _ in range(2):
        halves.learner.accumulate(a_loss(halves, dtype) / 2)
    other = halves.learner.step(1)
    assert one == other and one.grad_norm > 0
    for left, right in zip(whole.learner.masters, halves.learner.masters, strict=True):
        assert torch.equal(left, right)
    for left, right in zip(whole.learner.parameters, halves.learner.parameters, strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nothing_of_a_step_is_left_for_the_next(dtype: torch.dtype):
    run = tiny_run(dtype)
    next(run.steps())
    learner = run.learner
    assert all(each.grad is None for each in (*learner.parameters, *learner.masters))
    loss = a_loss(run, dtype)
    learner.accumulate(loss)
    assert learner.step(1).loss.item() == loss.item()
