"""A GPU that was too small is told with what each setting buys; steps that became slow are told once.

No GPU runs out of memory here: the words are tested, and that torch's own error becomes them.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from flux_lora.config.choices import Quantization
from flux_lora.config.compose import compose_config, flat_settings
from flux_lora.config.schema import HardwareConfig
from flux_lora.errors import RunError
from flux_lora.runs.auto_hardware import planner_of, possible_ways
from flux_lora.runs.out_of_memory import BEGINS_AGAIN, GOES_ON, memory_in_words, out_of_memory, way_of
from flux_lora.runs.plan import GIB, Way
from flux_lora.runs.resume import refuse_another_recipe
from flux_lora.runs.run import Run
from flux_lora.runs.slow_steps import USUAL, SlowSteps, memory_held


def test_what_each_setting_buys_is_what_the_plan_counts():
    planner = planner_of(compose_config(["recipe=demo"]))
    now = planner.plan(Way()).peak.bytes
    said = out_of_memory(planner, Way(), 0.5)
    assert said.problem.startswith("the GPU's 0.5 GB did not hold this run")
    assert f"planned to take {now / GIB:.1f}" in said.problem
    lines = [line.strip() for line in said.fix.splitlines() if not line.endswith(":")]
    bought = {line.rpartition(": ")[0]: line.rpartition(": ")[2] for line in lines}
    for way in possible_ways(planner):
        changes = " ".join(word for word in way.overrides if word not in Way().overrides)
        peak = planner.plan(way).peak.bytes
        assert (changes in bought) == (bool(changes) and peak < now)
        if changes in bought:
            assert bought[changes] == f"{peak / GIB:.1f} GB"
    assert any("data.resolution=512" in changes or "hardware." in changes for changes in bought), bought


def test_a_recipe_that_was_settled_on_int8_is_told_what_nf4_buys():
    planner = planner_of(compose_config(["recipe=demo", "hardware.quantize=int8"]))
    assert "hardware.quantize=nf4" in out_of_memory(planner, Way(Quantization.int8), 0.5).fix


def test_what_goes_on_from_the_checkpoint_is_told_apart_from_what_resume_refuses(tmp_path: Path):
    begun = compose_config(["recipe=demo"])
    goes_on, begins_again = out_of_memory(planner_of(begun), Way(), 0.5).fix.split(BEGINS_AGAIN)
    head, *kept = goes_on.strip().splitlines()
    assert head == GOES_ON and kept
    for line in kept:
        words = line.rpartition(": ")[0].split()
        refuse_another_recipe(tmp_path, begun, compose_config(["recipe=demo", *words]), flat_settings(begun))
    refused = begins_again.strip().splitlines()
    assert any("hardware.quantize" in line for line in refused) and any("adapter." in line for line in refused)
    for line in refused:
        words = line.rpartition(": ")[0].split()
        with pytest.raises(RunError, match="begun with other settings"):
            refuse_another_recipe(tmp_path, begun, compose_config(["recipe=demo", *words]), flat_settings(begun))


def test_the_way_of_a_recipe_is_that_of_its_hardware():
    hardware = replace(HardwareConfig(), quantize=Quantization.int8, gradient_checkpointing=True)
    assert way_of(hardware) == Way(Quantization.int8, gradient_checkpointing=True)


def test_torch_s_own_complaint_becomes_ours(monkeypatch: pytest.MonkeyPatch):
    """The error is torch's class, raised by hand; the size of the card, which is not here, is made up."""

    class Card:
        total_memory = 24 * GIB

    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Card)
    with (
        pytest.raises(RunError, match="the GPU's 24.0 GB did not hold"),
        memory_in_words(Run(compose_config(["recipe=demo"]))),
    ):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


def watched(memory: list[float], seconds: list[float], sizes: list[int]) -> list[str]:
    said: list[str] = []
    left = iter(memory)
    slow = SlowSteps(said.append, lambda: next(left))
    for number, (each, size) in enumerate(zip(seconds, sizes, strict=True), start=1):
        slow.look_at(number, size, each)
    return said


@pytest.mark.parametrize(("now", "words"), [(3.0, "It has grown"), (1.0, "It has not grown")])
def test_steps_that_take_twice_as_long_are_said_once_with_the_memory(now: float, words: str):
    seconds = [1.0] * USUAL + [2.5] * 10
    (line,) = watched([GIB, now * GIB], seconds, [0] * len(seconds))
    assert line.startswith(f"step {USUAL + 3} took 2.50 s, 2.5 times as long") and words in line
    assert f"was 1.00 GB then and is {now:.2f} GB now" in line


def test_one_slow_step_and_a_larger_size_are_nothing_to_say():
    seconds = [1.0] * USUAL + [5.0, 1.0, 5.0, 5.0, 1.0] + [3.0] * USUAL
    assert watched([GIB, GIB], seconds, [0] * (USUAL + 5) + [1] * USUAL) == []


def test_the_memory_that_is_held_is_known_here():
    assert memory_held() > 10e6
