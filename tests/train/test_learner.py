"""One update at a time."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from flux_lora.adapter.attach import adapter_of
from flux_lora.adapter.tensors import rounded
from flux_lora.errors import RunError
from tests.train.tiny_run import CONFIG, tiny_run


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
    before = run.learner.adapter().layers[run.learner.names[0]].down
    list(islice(run.steps(), 3))
    after = run.learner.adapter().layers[run.learner.names[0]].down
    assert (before != after).float().mean() > 0.9
    assert (before.bfloat16() == after.bfloat16()).float().mean() > 0.9


def test_the_base_does_not_move():
    run = tiny_run()
    base = {name: value.clone() for name, value in run.transformer.state_dict().items() if "lora_" not in name}
    list(islice(run.steps(), 2))
    after = run.transformer.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in base.items())


def test_clipping_bounds_what_the_optimizer_sees_and_reports_the_true_length():
    free, clipped = tiny_run(config=replace(CONFIG, clip=1e9)), tiny_run(config=replace(CONFIG, clip=1e-3))
    one, other = next(free.steps()), next(clipped.steps())
    assert one.grad_norm == other.grad_norm > 1e-3
    moments = [state["exp_avg"].norm() ** 2 for state in clipped.learner.optimizer.state.values()]
    assert torch.stack(moments).sum().sqrt().item() == pytest.approx(1e-4, rel=0.01)  # (1 - beta) * clip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_loss_that_is_not_finite_stops_before_anything_moves(dtype: torch.dtype):
    run = tiny_run(dtype)
    next(run.steps())
    learner = run.learner
    before = [value.clone() for value in (*learner.masters, *learner.parameters)]
    moments = [state["exp_avg"].clone() for state in learner.optimizer.state.values()]
    loss = sum(parameter.float().sum() for parameter in learner.parameters) * float("nan")
    with pytest.raises(RunError, match="step 2: the loss is nan") as refused:
        learner.update(1, loss)
    assert refused.value.exit_code != 0 and "learning_rate" in refused.value.fix
    for value, old in zip((*learner.masters, *learner.parameters), before, strict=True):
        assert torch.equal(value, old)
    for state, old in zip(learner.optimizer.state.values(), moments, strict=True):
        assert torch.equal(state["exp_avg"], old)


def test_a_gradient_that_is_not_finite_stops_though_the_loss_is_fine():
    learner = tiny_run().learner
    loss = sum(parameter.float().abs().sqrt().sum() for parameter in learner.parameters)  # slope is infinite at 0
    before = learner.adapter()
    with pytest.raises(RunError, match="gradient's length"):
        learner.update(0, loss)
    name = learner.names[0]
    assert torch.equal(learner.adapter().layers[name].up, before.layers[name].up)


def test_the_adapter_handed_out_is_a_copy():
    run = tiny_run()
    before = run.learner.adapter()
    next(run.steps())
    assert all(not layer.up.any() for layer in before.layers.values())
