"""What the adapter must not change is held: the base's answers to captions without the trigger."""

from dataclasses import replace
from functools import partial
from itertools import islice

import torch
from torch import Generator

from flux_lora.adapter.attach import set_strength
from flux_lora.flow.points import counted_draw, draw_point
from flux_lora.flow.sigmas import logit_normal
from flux_lora.train.loop import training_steps
from flux_lora.train.loss import Preservation, preservation_loss, without_adapter
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
