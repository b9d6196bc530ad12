"""The loop."""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import pytest
import torch

import flux_lora
from flux_lora.config.choices import LRScheduler
from flux_lora.errors import RunError
from flux_lora.flow.points import counted_draw, draw_point
from flux_lora.flow.sigmas import logit_normal
from flux_lora.train.loop import launched_steps, made_ahead, training_steps
from flux_lora.train.loss import flow_loss
from flux_lora.train.preservation import Preservation
from tests.train.tiny_run import CONFIG, tiny_batches, tiny_run

PACKAGE = Path(flux_lora.__file__).parent


def test_steps_are_counted_from_one_and_the_caller_stops_them():
    assert [step.number for step in islice(tiny_run().steps(), 3)] == [1, 2, 3]


def test_a_continued_run_counts_on():
    assert next(tiny_run().steps(start=5)).number == 6


def test_loss_falls_when_one_sample_is_learnt_by_heart():
    config = replace(CONFIG, batch_size=1, learning_rate=2e-2, lr_scheduler=LRScheduler.constant)
    run = tiny_run(config=config)
    draw, batch = counted_draw(0, logit_normal()), next(tiny_batches(config))
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
    draw, latents = counted_draw(0, logit_normal()), torch.zeros(2, 16, 4, 4)
    first, again, next_one = draw(latents, 3), draw(latents, 3), draw(latents, 4)
    assert torch.equal(first.noisy, again.noisy) and torch.equal(first.sigma, again.sigma)
    assert not torch.equal(first.sigma, next_one.sigma)


def test_a_step_that_is_not_finite_moves_nothing_and_is_said_when_it_is_read():
    run = tiny_run()
    batch = next(tiny_batches())
    broken = replace(batch, latents=batch.latents * float("nan"))
    draw = counted_draw(0, logit_normal())
    steps = launched_steps(run.learner, iter([batch, broken]), draw)
    assert next(steps).read().number == 1
    before = [value.clone() for value in run.learner.masters]
    step = next(steps).read()
    assert all(torch.equal(one, other) for one, other in zip(run.learner.masters, before, strict=True))
    assert (step.number, step.finite) == (2, False)
    with pytest.raises(RunError, match="step 1: the loss is nan"):
        next(training_steps(run.learner, iter([broken]), draw))


def test_each_image_of_a_step_is_told_with_its_loss_and_sigma():
    def double(sigma: torch.Tensor) -> torch.Tensor:
        return torch.full_like(sigma, 2.0)

    draw = counted_draw(0, logit_normal())
    plain = [each.read() for each in islice(launched_steps(tiny_run().learner, tiny_batches(), draw), 4)]
    halved = [
        each.read() for each in islice(launched_steps(tiny_run().learner, tiny_batches(), draw, expected=double), 4)
    ]
    assert sorted(number for step in plain[:2] for number in step.samples) == [0, 1, 2, 3], "an epoch"
    for one, other in zip(plain, halved, strict=True):
        assert one.loss == pytest.approx(sum(one.sample_losses) / len(one.samples))
        assert other.relative_loss == pytest.approx(one.loss / 2) and one.relative_loss == 0
        assert other.sample_losses == pytest.approx([loss / 2 for loss in one.sample_losses])
        assert len(one.sigmas) == len(one.samples) and all(0 < sigma < 1 for sigma in one.sigmas)


WAITS = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__")


def test_nothing_of_ours_waits_for_the_device_in_a_steady_step(monkeypatch: pytest.MonkeyPatch):
    """Counted: every way in which a number leaves a tensor, called from the package, over 20 steps."""
    waits: Counter[str] = Counter()

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def called(tensor: torch.Tensor, *rest: Any, **named: Any) -> Any:
            caller = sys._getframe(1)
            on_main = threading.current_thread() is threading.main_thread()
            if on_main and str(PACKAGE) in caller.f_code.co_filename:
                waits[f"{name} in {Path(caller.f_code.co_filename).name}"] += 1
            return real(tensor, *rest, **named)

        return called

    run, reminder = tiny_run(config=replace(CONFIG, steps=20)), next(tiny_batches())
    for name in WAITS:
        monkeypatch.setattr(torch.Tensor, name, counted(name, getattr(torch.Tensor, name)))
    point = draw_point(reminder.latents, torch.tensor([0.3, 0.8]), torch.Generator())
    kept = Preservation(repeat((reminder, point)), first=1.0, weight=1.0, every=2, limit=lambda _: 0.1)
    draw = counted_draw(0, logit_normal())
    launched = list(islice(launched_steps(run.learner, tiny_batches(), draw, preservation=kept), 20))
    assert waits == Counter()
    assert launched[-1].read().number == 20 and sum(waits.values()) > 0, "the count itself counts"


def test_items_made_ahead_are_the_same_and_an_error_arrives_in_its_place():
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise RunError("an entry is broken", fix="make it again")

    ahead = made_ahead(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(RunError, match="an entry is broken"):
        next(ahead)
    assert list(made_ahead(iter(range(100)))) == list(range(100))


def test_accumulated_batches_move_the_adapter_by_the_mean_of_their_gradients():
    config = replace(CONFIG, gradient_accumulation_steps=2)
    together, apart = tiny_run(config=config), tiny_run()
    (step,) = islice(together.steps(), 1)
    draw, losses = counted_draw(CONFIG.seed, logit_normal()), []
    for number, batch in enumerate(islice(tiny_batches(), 2)):
        each = flow_loss(apart.learner.predict, batch, draw(batch.latents, number))
        apart.learner.accumulate(each.mean() / 2)
        losses += each.tolist()
    apart.learner.step(0)
    assert step.sample_losses == pytest.approx(losses)
    assert len(step.samples) == len(step.sigmas) == 4
    for ours, theirs in zip(together.learner.masters, apart.learner.masters, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_stream_that_ends_between_two_steps_ends_the_training():
    config = replace(CONFIG, gradient_accumulation_steps=2)
    run = tiny_run(config=config)
    draw = counted_draw(0, logit_normal())
    assert len(list(training_steps(run.learner, islice(tiny_batches(config), 3), draw))) == 2
