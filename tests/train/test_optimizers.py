"""The optimizer and its rate."""

from dataclasses import replace
from importlib.util import find_spec

import pytest
import torch
from torch import nn

from flux_lora.config.choices import LRScheduler, OptimizerName
from flux_lora.config.schema import TrainConfig
from flux_lora.errors import ConfigError
from flux_lora.train.optimizers import OPTIMIZERS, learning_rate_at, optimizer_for

CONFIG = TrainConfig(steps=100, learning_rate=2.0, warmup_steps=10)


def test_the_rate_climbs_to_its_peak_and_ends_near_nothing():
    rates = [learning_rate_at(done, CONFIG) for done in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx(1.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001


def test_a_constant_rate_stays_after_the_climb():
    constant = replace(CONFIG, lr_scheduler=LRScheduler.constant)
    assert {learning_rate_at(done, constant) for done in range(9, 300)} == {2.0}


def test_without_a_warm_up_the_first_step_is_a_full_one():
    assert learning_rate_at(0, replace(CONFIG, warmup_steps=0)) == 2.0


@pytest.mark.parametrize("schedule", [LRScheduler.linear, LRScheduler.rex])
def test_the_others_fall_from_the_peak_to_nothing(schedule: LRScheduler):
    falling = replace(CONFIG, lr_scheduler=schedule)
    rates = [learning_rate_at(done, falling) for done in range(10, 101)]
    assert rates[0] == pytest.approx(2.0) and rates[-1] == 0.0
    assert rates == sorted(rates, reverse=True)
    half = learning_rate_at(55, falling) / 2.0
    assert half == pytest.approx({LRScheduler.linear: 1 / 2, LRScheduler.rex: 2 / 3}[schedule])


@pytest.mark.parametrize("name", [OptimizerName.adamw, OptimizerName.adafactor, OptimizerName.muon, OptimizerName.lion])
def test_a_tensor_of_zeros_moves_by_about_the_rate(name: OptimizerName):
    """`up` begins at 0. Steps relative to a tensor's size, which is torch's default for Adafactor, would leave it."""
    weight = nn.Parameter(torch.zeros(64, 16))
    optimizer = optimizer_for([weight], replace(CONFIG, optimizer=name, learning_rate=1e-3))
    generator = torch.Generator().manual_seed(0)
    weight.grad = torch.randn(64, 16, generator=generator)
    optimizer.step()
    assert 1e-4 < weight.detach().square().mean().sqrt() < 2e-3


def test_prodigy_finds_a_rate_by_itself():
    weight = nn.Parameter(torch.full((8, 8), 5.0))
    optimizer = optimizer_for([weight], replace(CONFIG, optimizer=OptimizerName.prodigy, learning_rate=1.0))
    for _ in range(200):
        optimizer.zero_grad()
        weight.square().sum().backward()
        optimizer.step()
    assert weight.abs().max() < 1.0


def test_beyond_the_end_the_rate_is_nothing():
    assert learning_rate_at(500, CONFIG) == 0.0


def test_every_optimizer_of_the_recipe_can_be_built():
    assert set(OPTIMIZERS) == set(OptimizerName)


def test_adamw_moves_towards_less():
    weight = nn.Parameter(torch.ones(3))
    optimizer = optimizer_for([weight], CONFIG)
    weight.square().sum().backward()
    optimizer.step()
    assert (weight < 1).all()


def test_weight_decay_leaves_magnitudes_alone_and_they_learn_at_the_same_rate():
    matrix, lengths = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(3))
    optimizer = optimizer_for([matrix, lengths], replace(CONFIG, learning_rate=0.1, weight_decay=1.0))
    matrix.grad, lengths.grad = torch.zeros(2, 2), torch.zeros(3)
    optimizer.step()
    assert torch.equal(matrix.detach(), torch.full((2, 2), 0.9)) and torch.equal(lengths.detach(), torch.ones(3))


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_a_missing_bitsandbytes_is_said_with_the_way_out():
    with pytest.raises(ConfigError, match="bitsandbytes is not installed"):
        optimizer_for([nn.Parameter(torch.ones(3))], replace(CONFIG, optimizer=OptimizerName.adamw8bit))
