"""Times and shifts, beside the scheduler's."""

import math

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from hypothesis import given
from hypothesis import strategies as st

from flux_lora.flow.randomness import generator_for
from flux_lora.flow.sigmas import logit_normal, shifted, uniform


@pytest.mark.parametrize("shift", [1.0, 1.15, 3.0])
def test_shifted_equals_the_schedulers_fixed_shift(shift: float):
    plain = FlowMatchEulerDiscreteScheduler(shift=1.0).sigmas
    torch.testing.assert_close(shifted(plain, shift), FlowMatchEulerDiscreteScheduler(shift=shift).sigmas)


@pytest.mark.parametrize("mu", [0.5, 0.8, 1.15])
def test_shifted_by_exp_mu_equals_the_schedulers_dynamic_shift(mu: float):
    time = torch.linspace(0.05, 1.0, 20)
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    torch.testing.assert_close(shifted(time, math.exp(mu)), scheduler.time_shift(mu, 1.0, time))


@given(st.floats(0.2, 8.0), st.floats(0.2, 8.0), st.floats(0.0, 1.0))
def test_shifting_twice_is_shifting_by_the_product(first: float, second: float, time: float):
    point = torch.tensor(time, dtype=torch.float64)
    torch.testing.assert_close(shifted(shifted(point, first), second), shifted(point, first * second))


@given(st.floats(-20, 20), st.floats(0, 20), st.floats(0.1, 20), st.integers(0, 1000))
def test_every_time_lies_strictly_between_data_and_noise(mean: float, std: float, shift: float, seed: int):
    time = logit_normal(mean, std, shift)(64, generator_for(seed, 0, "times"))
    assert time.dtype == torch.float32
    assert bool(((time > 0) & (time < 1)).all())


def test_the_logit_of_an_unshifted_time_is_normal():
    logits = torch.logit(logit_normal(0.4, 1.5, 1.0)(20_000, generator_for(0, 0, "times")))
    assert abs(logits.mean().item() - 0.4) < 0.05
    assert abs(logits.std().item() - 1.5) < 0.05


def test_a_shift_above_one_moves_times_towards_noise():
    plain, moved = (logit_normal(0.0, 1.0, shift)(1000, generator_for(0, 0, "times")) for shift in (1.0, 3.0))
    assert bool((moved > plain).all())


def test_even_times_fill_the_path_evenly_and_a_shift_moves_them_as_it_moves_a_schedule():
    times = uniform(1.0)(4000, generator_for(0, 0, "times"))
    torch.testing.assert_close(times.sort().values, torch.linspace(0, 1, 4000), atol=0.03, rtol=0)
    torch.testing.assert_close(uniform(3.0)(4000, generator_for(0, 0, "times")), shifted(times, 3.0))
