"""Times and shifts, beside the scheduler's."""

import math

import pytest
import scipy.stats
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import compute_density_for_timestep_sampling
from hypothesis import given
from hypothesis import strategies as st

from flux_lora.flow.randomness import generator_for
from flux_lora.flow.sigmas import Quantile, beta, logit_normal, mode, shifted, sigmas_at, systematic, uniform


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


quantiles = st.one_of(
    st.builds(logit_normal, st.floats(-20, 20), st.floats(0, 20)),
    st.builds(mode, st.floats(-0.99, 1.75)),
    st.builds(uniform),
    st.builds(beta, st.floats(0.2, 5), st.floats(0.2, 5)),
)


@given(quantiles, st.floats(0.1, 20), st.floats(0, 1), st.lists(st.floats(0, 1), min_size=1, max_size=64))
def test_every_sigma_lies_strictly_between_data_and_noise(
    quantile: Quantile, shift: float, unshifted: float, even: list[float]
):
    sigma = sigmas_at(torch.tensor(even), quantile, shift, unshifted)
    assert sigma.dtype == torch.float32
    assert bool(((sigma > 0) & (sigma < 1)).all())


EVEN = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000


def test_the_logit_of_an_unshifted_sigma_is_normal():
    logits = torch.logit(sigmas_at(EVEN, logit_normal(0.4, 1.5), 1.0).double())
    assert logits.mean().item() == pytest.approx(0.4, abs=1e-3)
    assert logits.std().item() == pytest.approx(1.5, abs=1e-2)


@pytest.mark.parametrize("scale", [0.81, 1.29, -0.5])
def test_mode_sampling_is_that_of_diffusers_training_utilities(scale: float):
    even = torch.rand(1000, generator=torch.Generator().manual_seed(3))
    theirs = compute_density_for_timestep_sampling(
        "mode", 1000, mode_scale=scale, generator=torch.Generator().manual_seed(3)
    )
    torch.testing.assert_close(mode(scale)(even), theirs)


def test_logit_normal_sampling_is_distributed_as_that_of_diffusers_training_utilities():
    theirs = compute_density_for_timestep_sampling(
        "logit_normal", 20_000, logit_mean=0.3, logit_std=0.8, generator=torch.Generator().manual_seed(0)
    )
    ours = sigmas_at(EVEN, logit_normal(0.3, 0.8), 1.0)
    shares = torch.linspace(0.05, 0.95, 19)
    torch.testing.assert_close(ours.quantile(shares), theirs.quantile(shares), atol=0.01, rtol=0)


@pytest.mark.parametrize(("alpha", "other"), [(0.6, 0.6), (1.0, 1.0), (0.3, 2.0), (2.0, 5.0)])
def test_beta_sampling_is_distributed_as_scipys(alpha: float, other: float):
    ours = beta(alpha, other)(EVEN[::50]).numpy()
    assert abs(ours - scipy.stats.beta.ppf(EVEN[::50].numpy(), alpha, other)).max() < 2e-5


def test_a_share_of_the_sigmas_is_drawn_without_the_shift():
    """The mixture's distribution function is that of its parts, weighed by their shares."""
    mixed = sigmas_at(EVEN, logit_normal(), 3.0, 0.3).sort().values
    plain, moved = (sigmas_at(EVEN, logit_normal(), shift) for shift in (1.0, 3.0))
    for below in (0.2, 0.5, 0.8):
        whole, first, second = ((sigma < below).float().mean().item() for sigma in (mixed, plain, moved))
        assert whole == pytest.approx(0.3 * first + 0.7 * second, abs=2e-4)
    assert torch.equal(sigmas_at(EVEN, logit_normal(), 3.0, 0.0), moved)
    assert torch.equal(sigmas_at(EVEN, logit_normal(), 3.0, 1.0), plain)


def test_a_shift_above_one_moves_sigmas_towards_noise():
    plain, moved = (sigmas_at(EVEN[::20], logit_normal(), shift) for shift in (1.0, 3.0))
    assert bool((moved > plain).all())


@given(st.integers(0, 500), st.integers(1, 6), st.integers(1, 60), st.sampled_from([2, 4, 8, 16]))
def test_any_window_of_steps_meets_every_part_of_the_path_within_one_of_its_share(
    first: int, batch: int, steps: int, strata: int
):
    even = [
        systematic(number * batch, batch, generator_for(0, number, "flow")) for number in range(first, first + steps)
    ]
    counts = torch.histc(torch.cat(even), strata, 0, 1)
    share = steps * batch / strata
    assert bool(((counts - share).abs() <= 1).all())
    assert bool(((torch.cat(even) >= 0) & (torch.cat(even) < 1)).all())
