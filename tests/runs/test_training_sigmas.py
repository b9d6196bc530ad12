"""The sigmas of a run are those of its recipe."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flux_lora.config.choices import SigmaSampling
from flux_lora.config.compose import compose_config
from flux_lora.config.schema import TrainConfig
from flux_lora.flow.sigmas import beta, logit_normal, mode, uniform
from flux_lora.models.flux1.sampling import sampling_shift
from flux_lora.runs.run import Run
from flux_lora.runs.training import quantile_of, shift_of

EVEN = torch.linspace(0.05, 0.95, 9)


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (SigmaSampling.logit_normal, logit_normal(0.3, 0.8)),
        (SigmaSampling.uniform, uniform()),
        (SigmaSampling.mode, mode(1.1)),
        (SigmaSampling.beta, beta(0.7, 1.4)),
    ],
)
def test_every_way_of_drawing_sigmas_takes_its_own_numbers_from_the_recipe(sampling, expected):
    drawn = TrainConfig(steps=1, logit_mean=0.3, logit_std=0.8, mode_scale=1.1, beta_alpha=0.7, beta_beta=1.4)
    config = replace(drawn, sigma_sampling=sampling)
    assert torch.equal(quantile_of(config)(EVEN), expected(EVEN))


def test_the_shift_is_the_recipes_or_that_of_the_bases_sampler_for_each_size(tiny_flux: Path, tmp_path: Path):
    static = Run(compose_config(["recipe=demo", f"model.path={tiny_flux}", "train.shift=1.7", f"run.dir={tmp_path}/a"]))
    pipeline = static.load_pipeline()
    assert shift_of(static, pipeline)(8, 8) == shift_of(static, pipeline)(128, 128) == 1.7
    train = replace(static.config.train, shift=1.0, dynamic_shift=True)
    dynamic = shift_of(Run(replace(static.config, train=train)), pipeline)
    for height, width in ((32, 32), (128, 128), (96, 160)):
        theirs = sampling_shift(pipeline.scheduler, width=8 * width, height=8 * height)
        assert dynamic(height, width) == theirs
    assert dynamic(128, 128) > dynamic(32, 32) > 1
