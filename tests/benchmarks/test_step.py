from dataclasses import replace

import pytest
import torch
from diffusers import FluxTransformer2DModel

from benchmarks.gpu import FLUX, SMALL, cost_of, forward_flops, step_flops
from benchmarks.gpu import page as gpu_page
from benchmarks.ground import FLUX_DEV, MINI, NARROW, Case, OurStep, Way, mini_numbers, random_flux, sample_batches
from benchmarks.script_step import ScriptStep
from benchmarks.step import page as step_page
from benchmarks.step import ways_for
from flux_lora.adapter.attach import adapter_of, load_into
from flux_lora.adapter.layer_types import Adapter, LoRA
from flux_lora.flow.points import point_at
from flux_lora.models.flux1.velocity import velocity_of
from flux_lora.train.loss import flow_loss

CPU = torch.device("cpu")
NUMBERS = {**NARROW, "num_layers": 1, "num_single_layers": 1}
CASE = Case(NUMBERS, pixels=32, text_tokens=3, batch_size=2, dtype=torch.float32)


def with_any_values(adapter: Adapter) -> Adapter:
    return Adapter(
        {name: LoRA(layer.down, torch.ones_like(layer.up), layer.alpha) for name, layer in adapter.layers.items()}
    )


def test_both_steps_compute_the_same_loss_for_the_same_question():
    ours, theirs = (random_flux(NUMBERS, torch.float32, CPU) for _ in range(2))
    OurStep(ours, CASE)
    script = ScriptStep(theirs, CASE, autocast=False)
    plain = flow_loss_of(ours)
    for transformer in (ours, theirs):
        load_into(transformer, with_any_values(adapter_of(ours)))
    batch, noise, timesteps = question()

    expected = flow_loss_of(ours)
    assert expected != pytest.approx(plain, rel=1e-4)
    assert script.loss_at(batch, noise, timesteps).item() == pytest.approx(expected, rel=1e-5)


def question():
    batch = next(sample_batches(CASE))
    return batch, torch.randn(batch.latents.shape, generator=torch.Generator().manual_seed(1)), torch.tensor([250, 900])


def flow_loss_of(transformer):
    batch, noise, timesteps = question()
    point = point_at(batch.latents, noise, timesteps / 1000)
    return flow_loss(velocity_of(transformer, guidance=1.0), batch, point).mean().item()


def test_both_steps_train_the_same_layers():
    ours, theirs = (random_flux(NUMBERS, torch.float32, CPU) for _ in range(2))
    OurStep(ours, CASE)
    ScriptStep(theirs, CASE)

    assert set(adapter_of(ours).layers) == set(adapter_of(theirs).layers)


def test_the_cpu_tables_have_a_row_for_each_step():
    text = step_page({"tiny": CASE}, rounds=1)

    assert all(f"| {name} |" in text for name in ways_for(CASE))


def test_the_gpu_program_runs_on_a_small_flux():
    text = gpu_page(replace(SMALL, sides=(32,)), CPU, steps=1)

    assert text.count("| ours") == 6, "on a whole, an int8 and an NF4 base, with checkpointing and without"
    assert text.count("| script") == 2


def test_a_step_that_does_not_fit_is_told_from_one_that_does():
    transformer = random_flux(NUMBERS, torch.float32, CPU)

    def too_large(transformer: FluxTransformer2DModel) -> Way:
        OurStep(transformer, CASE)
        raise torch.OutOfMemoryError

    assert cost_of(transformer, too_large, steps=1) is None
    assert not adapter_of(transformer).layers
    assert cost_of(transformer, lambda transformer: OurStep(transformer, CASE), steps=1) is not None


def test_useful_work_is_what_was_counted_on_the_real_model():
    assert forward_flops(FLUX_DEV, 4608) == pytest.approx(74.38e12, rel=1e-3)
    assert step_flops(FLUX_DEV, 1536) == pytest.approx(45.5e12, rel=3e-3)
    assert step_flops(FLUX_DEV, 4608) == pytest.approx(171.3e12, rel=3e-3)


def test_the_real_size_is_flux_dev():
    transformer = random_flux(FLUX.numbers, torch.bfloat16, torch.device("meta"))

    assert sum(parameter.numel() for parameter in transformer.parameters()) == 11_901_408_320


def test_the_mini_numbers_make_a_model():
    numbers = mini_numbers()

    assert numbers.keys() == MINI.keys()
    assert random_flux(numbers, torch.float32, torch.device("meta")).config["num_single_layers"] > 0
