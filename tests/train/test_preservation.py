"""What the adapter must not change is held: the base's answers to captions without the trigger."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, repeat
from statistics import mean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Generator
from torch.utils.flop_counter import FlopCounterMode

from flux_lora.adapter.attach import set_strength
from flux_lora.flow.points import counted_draw, draw_point
from flux_lora.flow.sigmas import logit_normal, sigmas_at
from flux_lora.train.loop import Step, training_steps
from flux_lora.train.loss import flow_loss
from flux_lora.train.preservation import SPAN, WIDER, Asked, Preservation, tightening
from tests.train.tiny_run import CONFIG, TinyRun, tiny_batches, tiny_run

TIMES = logit_normal()


def questions(run: TinyRun, start: int = 0) -> Iterator[Asked]:
    """What the base answers, as a run keeps it before the first step."""
    draw = counted_draw(0, TIMES, purpose="reminder")
    for number, batch in enumerate(tiny_batches(start=start), start):
        point = draw(batch.latents, number)
        set_strength(run.transformer, 0.0)
        with torch.no_grad():
            answer = run.learner.predict(point.noisy, point.sigma, batch.prompt_embeds)
        set_strength(run.transformer, 1.0)
        yield batch, replace(point, velocity=answer)


def kept(run: TinyRun, weight: float, every: int = 1, limit: float = 0.0) -> Preservation:
    constant = (lambda _: limit) if limit else None
    return Preservation(questions(run), first=weight, weight=weight, every=every, limit=constant)


def taught(run: TinyRun, preservation: Preservation | None, steps: int = 30) -> list[Step]:
    return list(
        islice(training_steps(run.learner, tiny_batches(), counted_draw(0, TIMES), preservation=preservation), steps)
    )


def moved(run: TinyRun) -> float:
    """Drift at points that were not asked about."""
    batch, _ = next(questions(run, start=100))
    point = draw_point(batch.latents, sigmas_at(torch.tensor([0.3, 0.8]), TIMES, 1.0), Generator().manual_seed(0))
    set_strength(run.transformer, 0.0)
    with torch.no_grad():
        point = replace(point, velocity=run.learner.predict(point.noisy, point.sigma, batch.prompt_embeds))
    set_strength(run.transformer, 1.0)
    return flow_loss(run.learner.predict, batch, point).mean().item()


def test_learning_and_preservation_are_reported_apart():
    alone = taught(tiny_run(), None, 1)
    run = tiny_run()
    both = taught(run, kept(run, 20.0), 4)
    assert both[0].loss == alone[0].loss, "the first loss is of learning, whatever is preserved"
    assert both[0].preservation == 0 < both[-1].preservation
    assert [step.preservation_weight for step in both] == [20.0] * 4


def test_a_question_every_other_step_counts_for_both():
    run = tiny_run()
    preservation = kept(run, 3.0, every=2)
    assert [preservation.due(done) for done in range(4)] == [True, False, True, False]
    assert preservation.pull == 6.0
    drifts = [step.preservation for step in taught(run, preservation, 6)]
    assert drifts[0] == drifts[1] and drifts[2] == drifts[3] != drifts[4] == drifts[5]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_two_backwards_give_the_gradients_of_the_sum(dtype: torch.dtype):
    weight = 3.0
    norms = []
    for together in (False, True):
        run = tiny_run(dtype)
        next(run.steps())
        batch = next(tiny_batches()).to("cpu", dtype)
        point = counted_draw(0, TIMES)(batch.latents.float(), 0).to("cpu", dtype)
        other = replace(point, velocity=torch.zeros_like(point.velocity))
        losses = (
            flow_loss(run.learner.predict, batch, point).mean(),
            weight * flow_loss(run.learner.predict, batch, other).mean(),
        )
        for loss in (losses[0] + losses[1],) if together else losses:
            run.learner.accumulate(loss)
        norms.append(run.learner.step(1).grad_norm.item())
    assert norms[0] == pytest.approx(norms[1], rel=1e-6 if dtype == torch.float32 else 2e-2)


class Held:
    """A tensor that autograd keeps for its backward, counted while it is kept."""

    bytes = most = 0

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor, self.size = tensor, tensor.numel() * tensor.element_size()
        Held.bytes += self.size
        Held.most = max(Held.most, Held.bytes)

    def __del__(self) -> None:
        Held.bytes -= self.size


def most_saved(weight: float) -> int:
    """Most bytes kept for a backward at once in two steps; without preservation if 0."""
    run = tiny_run()
    asked = list(islice(questions(run), 2))
    preservation = Preservation(iter(asked), first=weight, weight=weight) if weight else None
    Held.bytes = Held.most = 0
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        taught(run, preservation, 2)
    return Held.most


def test_preservation_keeps_no_second_graph():
    assert 0 < most_saved(2.5) <= 1.02 * most_saved(0)


def test_a_fresh_adapter_drifts_nowhere():
    assert moved(tiny_run()) == 0


def test_preservation_holds_the_base_where_learning_alone_moves_it():
    held, free = tiny_run(), tiny_run()
    taught(held, kept(held, 20.0))
    taught(free, None)
    assert 0 < moved(held) < 0.5 * moved(free)


def test_a_limit_is_kept_from_a_weight_that_is_far_too_small_and_from_one_that_is_far_too_large():
    config, last = replace(CONFIG, steps=400, learning_rate=3e-3), slice(-50, None)
    free = tiny_run(config=config)
    limit = 0.3 * mean(step.preservation for step in taught(free, kept(free, 1e-9), 400)[last])
    for first in (0.1, 10.0):
        run = tiny_run(config=config)
        steps = taught(run, kept(run, first, limit=limit), 400)
        assert mean(step.preservation for step in steps[last]) == pytest.approx(limit, rel=0.25)


@given(st.lists(st.floats(0, 1e6), max_size=600), st.floats(0.01, 100))
def test_the_weight_stays_within_its_span_whatever_is_answered(drifts: list[float], first: float):
    preservation = Preservation(iter(()), first=first, weight=first, limit=lambda _: 1.0)
    for drift in drifts:
        preservation.answered(torch.tensor(drift), 0)
    assert first / SPAN * 0.999 <= preservation.weight.item() <= first * SPAN * 1.001


def test_a_step_that_asks_nothing_tells_the_weight_and_the_drift_that_were_resumed():
    run = tiny_run()
    reminded = Preservation(iter(()), first=1.0, weight=0.5, drift=0.25, every=2)
    step = next(training_steps(run.learner, tiny_batches(), counted_draw(0, TIMES), start=1, preservation=reminded))
    assert (step.preservation_weight, step.preservation) == (0.5, 0.25)


def test_a_drift_that_is_not_finite_leaves_the_weight_as_it_was():
    reminded = Preservation(iter(()), first=1.0, weight=0.5, drift=0.25, limit=lambda _: 0.1)
    reminded.answered(torch.tensor(float("nan")), 0)
    assert (reminded.weight.item(), reminded.drift.item()) == (0.5, 0.25)


def test_without_a_limit_the_weight_is_what_it_was():
    preservation = Preservation(iter(()), first=2.0, weight=2.0)
    for drift in repeat(5.0, 10):
        preservation.answered(torch.tensor(drift), 0)
    assert preservation.weight.item() == 2.0


def flops(preservation: bool) -> int:
    """Of two steps on one thread of arithmetic."""
    run = tiny_run()
    reminded = Preservation(iter(list(islice(questions(run), 1))), first=1.0, weight=1.0, every=2)
    with FlopCounterMode(display=False) as counter:
        taught(run, reminded if preservation else None, 2)
    return counter.get_total_flops()


def test_a_reminder_every_other_step_costs_half_as_much_again():
    assert 1.4 < flops(preservation=True) / flops(preservation=False) <= 1.5


@given(st.floats(1e-6, 10), st.integers(1, 5000))
def test_a_limit_begins_wide_and_ends_where_it_was_asked_to(limit: float, steps: int):
    allowed = tightening(limit, steps)
    assert allowed(0) == pytest.approx(WIDER * limit) and allowed(steps) == pytest.approx(limit)
    assert allowed(2 * steps) == pytest.approx(limit), "a run that is prolonged is not held more firmly still"
    assert all(allowed(done) >= allowed(done + 1) for done in range(0, steps, max(1, steps // 20)))
