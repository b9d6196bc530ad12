"""The loop."""

from dataclasses import replace
from itertools import islice, repeat

import torch

from flux_lora.config.choices import LRScheduler
from flux_lora.flow.points import counted_draw
from flux_lora.flow.sigmas import logit_normal
from flux_lora.train.loop import training_steps
from tests.train.tiny_run import CONFIG, tiny_batches, tiny_run


def test_steps_are_counted_from_one_and_the_caller_stops_them():
    assert [step.number for step in islice(tiny_run().steps(), 3)] == [1, 2, 3]


def test_a_continued_run_counts_on():
    assert next(tiny_run().steps(start=5)).number == 6


def test_loss_falls_when_one_sample_is_learnt_by_heart():
    config = replace(CONFIG, batch_size=1, learning_rate=2e-2, lr_scheduler=LRScheduler.constant)
    run = tiny_run(config=config)
    draw, batch = counted_draw(0, logit_normal(0.0, 1.0, 1.0)), next(tiny_batches(config))
    losses = [
        step.loss
        for step in islice(training_steps(run.learner, repeat(batch), lambda latents, _: draw(latents, 0)), 25)
    ]
    assert losses[-1] < 0.75 * losses[0]


def test_bf16_follows_fp32():
    one, other = (list(islice(tiny_run(dtype).steps(), 4)) for dtype in (torch.float32, torch.bfloat16))
    for exact, rough in zip(one, other, strict=True):
        assert abs(exact.loss - rough.loss) < 0.02 * exact.loss


def test_the_same_seed_trains_the_same_and_another_does_not():
    one, same, other = (
        [step.loss for step in islice(tiny_run(config=replace(CONFIG, seed=seed)).steps(), 2)] for seed in (0, 0, 1)
    )
    assert one == same != other


def test_a_question_depends_on_the_batch_number_alone():
    draw, latents = counted_draw(0, logit_normal(0.0, 1.0, 1.0)), torch.zeros(2, 16, 4, 4)
    first, again, next_one = draw(latents, 3), draw(latents, 3), draw(latents, 4)
    assert torch.equal(first.noisy, again.noisy) and torch.equal(first.sigma, again.sigma)
    assert not torch.equal(first.sigma, next_one.sigma)
