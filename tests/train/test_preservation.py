"""What the adapter must not change is held: the base's answers to captions without the trigger."""

from dataclasses import replace
from functools import partial
from itertools import islice

import pytest
import torch
from torch import Generator

from flux_lora.adapter.attach import set_strength
from flux_lora.flow.points import counted_draw, draw_point
from flux_lora.flow.sigmas import logit_normal
from flux_lora.train.loop import training_steps
from flux_lora.train.loss import Preservation, flow_loss, preservation_loss, without_adapter
from tests.train.tiny_run import CONFIG, TinyRun, tiny_batches, tiny_run


def taught(weight: float) -> TinyRun:
    """A run of 30 steps."""
    run = tiny_run(config=replace(CONFIG, steps=30))
    base = without_adapter(run.learner.predict, partial(set_strength, run.transformer))
    times = logit_normal(0.0, 1.0, 1.0)
    kept = Preservation(base, tiny_batches(), counted_draw(0, times, purpose="reminder"), weight)
    list(islice(training_steps(run.learner, tiny_batches(), counted_draw(0, times), preservation=kept), 30))
    return run


def moved(run: TinyRun) -> float:
    batch = next(tiny_batches(start=100))
    point = draw_point(batch.latents, logit_normal(0.0, 1.0, 1.0), Generator().manual_seed(0))
    base = without_adapter(run.learner.predict, partial(set_strength, run.transformer))
    return preservation_loss(run.learner.predict, base, batch, point).mean().item()


def test_learning_and_preservation_are_reported_apart():
    run = tiny_run(config=replace(CONFIG, steps=4))
    base = without_adapter(run.learner.predict, partial(set_strength, run.transformer))
    times = logit_normal(0.0, 1.0, 1.0)
    kept = Preservation(base, tiny_batches(), counted_draw(0, times, purpose="reminder"), 20.0)
    alone = list(islice(tiny_run(config=replace(CONFIG, steps=4)).steps(), 1))
    both = list(islice(training_steps(run.learner, tiny_batches(), counted_draw(0, times), preservation=kept), 4))
    assert both[0].loss == alone[0].loss, "the first loss is of learning, whatever is preserved"
    assert both[0].preservation == 0 < both[-1].preservation


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_two_backwards_give_the_gradients_of_the_sum(dtype: torch.dtype):
    times, weight = logit_normal(0.0, 1.0, 1.0), 3.0
    norms = []
    for together in (False, True):
        run = tiny_run(dtype)
        next(run.steps())
        base = without_adapter(run.learner.predict, partial(set_strength, run.transformer))
        batch = next(tiny_batches()).to("cpu", dtype)
        point = counted_draw(0, times)(batch.latents.float(), 0)
        asked = replace(point, noisy=point.noisy.to(dtype))
        losses = (
            flow_loss(run.learner.predict, batch, asked).mean(),
            (weight * preservation_loss(run.learner.predict, base, batch, asked).mean()),
        )
        for loss in (sum(losses),) if together else losses:
            run.learner.accumulate(loss)
        norms.append(run.learner.step(1).grad_norm)
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
    run, times = tiny_run(), logit_normal(0.0, 1.0, 1.0)
    base = without_adapter(run.learner.predict, partial(set_strength, run.transformer))
    kept = Preservation(base, tiny_batches(), counted_draw(0, times, purpose="reminder"), weight) if weight else None
    Held.bytes = Held.most = 0
    with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.tensor):
        list(islice(training_steps(run.learner, tiny_batches(), counted_draw(0, times), preservation=kept), 2))
    return Held.most


def test_preservation_keeps_no_second_graph():
    assert 0 < most_saved(2.5) <= 1.02 * most_saved(0)


def test_a_fresh_adapter_drifts_nowhere():
    assert moved(tiny_run()) == 0


def test_preservation_holds_the_base_where_learning_alone_moves_it():
    assert 0 < moved(taught(weight=20.0)) < 0.5 * moved(taught(weight=0.0))


def test_the_base_is_asked_with_the_adapter_silent_and_it_speaks_again_afterwards():
    run = taught(weight=0.0)
    batch = next(tiny_batches())
    asked = (batch.latents, torch.full((len(batch.latents),), 0.5), batch.prompt_embeds)
    before = run.learner.predict(*asked)
    silent = without_adapter(run.learner.predict, partial(set_strength, run.transformer))(*asked)
    fresh = tiny_run().learner.predict(*asked)
    assert torch.equal(silent, fresh)
    assert torch.equal(run.learner.predict(*asked), before) and not torch.equal(before, silent)
