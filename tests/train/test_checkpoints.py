"""Stopping and going on."""

import json
import logging
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from flux_lora.adapter.files import read_adapter
from flux_lora.config.choices import AdapterKind, OptimizerName
from flux_lora.errors import RunError
from flux_lora.train import checkpoints
from flux_lora.train.learner import Learner
from tests.train.tiny_run import CONFIG, tiny_run


def assert_equal(one: Learner, other: Learner) -> None:
    for left, right in zip(one.masters, other.masters, strict=True):
        assert torch.equal(left, right)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_resumed_run_ends_with_the_same_adapter_as_one_that_never_stopped(dtype: torch.dtype, tmp_path: Path):
    straight = tiny_run(dtype)
    expected = list(islice(straight.steps(), 6))
    losses = []
    for leg in range(3):  # resumed twice
        run = tiny_run(dtype)
        latest = checkpoints.latest_checkpoint(tmp_path)
        start = checkpoints.restore(latest, run.learner) if latest else 0
        assert start == 2 * leg
        losses += [step.loss for step in islice(run.steps(start), 2)]
        checkpoints.save(tmp_path, start + 2, run.learner)
    assert losses == [step.loss for step in expected]
    assert_equal(run.learner, straight.learner)


RATES = {
    OptimizerName.adafactor: 1e-2,
    OptimizerName.muon: 1e-2,
    OptimizerName.lion: 1e-3,
    OptimizerName.prodigy: 1.0,
}


@pytest.mark.parametrize("optimizer", RATES)
@pytest.mark.parametrize("together", [1, 3])
def test_every_optimizer_goes_on_exactly_where_it_stopped(optimizer: OptimizerName, together: int, tmp_path: Path):
    config = replace(
        CONFIG, optimizer=optimizer, learning_rate=RATES[optimizer], gradient_accumulation_steps=together, steps=12
    )
    straight = tiny_run(config=config)
    expected = [step.loss for step in islice(straight.steps(), 12)]
    first, second = tiny_run(config=config), tiny_run(config=config)
    losses = [step.loss for step in islice(first.steps(), 6)]
    checkpoints.restore(checkpoints.save(tmp_path, 6, first.learner), second.learner)
    losses += [step.loss for step in islice(second.steps(6), 6)]
    assert losses == expected
    assert_equal(second.learner, straight.learner)


@pytest.mark.parametrize(
    ("kind", "dtype", "optimizer"),
    [
        *((kind, dtype, OptimizerName.adamw) for kind in AdapterKind for dtype in (torch.float32, torch.bfloat16)),
        (AdapterKind.dora, torch.float32, OptimizerName.prodigy),
    ],
)
def test_every_kind_of_adapter_goes_on_exactly_where_it_stopped(
    kind: AdapterKind, dtype: torch.dtype, optimizer: OptimizerName, tmp_path: Path
):
    rate = RATES.get(optimizer, CONFIG.learning_rate)
    config = replace(CONFIG, optimizer=optimizer, learning_rate=rate, steps=12)
    straight, first, second = (tiny_run(dtype, config, kind=kind) for _ in range(3))
    begun = [master.detach().clone() for master in straight.learner.masters]
    expected = [step.loss for step in islice(straight.steps(), 12)]
    losses = [step.loss for step in islice(first.steps(), 6)]
    checkpoints.restore(checkpoints.save(tmp_path, 6, first.learner), second.learner)
    losses += [step.loss for step in islice(second.steps(6), 6)]
    assert losses == expected
    assert_equal(second.learner, straight.learner)
    assert all(not torch.equal(after, before) for after, before in zip(straight.learner.masters, begun, strict=True))


def test_a_run_cannot_change_its_kind_midway(tmp_path: Path):
    saved = checkpoints.save(tmp_path, 1, tiny_run(kind=AdapterKind.lokr).learner)
    with pytest.raises(RunError, match="another adapter.kind"):
        checkpoints.restore(saved, tiny_run(kind=AdapterKind.loha).learner)


@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_eight_bit_state_is_resumed_exactly_too(tmp_path: Path):
    config = replace(CONFIG, optimizer=OptimizerName.adamw8bit)
    straight, first, second = (tiny_run(config=config, rank=200) for _ in range(3))  # small tensors stay fp32
    list(islice(straight.steps(), 4))
    list(islice(first.steps(), 2))
    checkpoints.restore(checkpoints.save(tmp_path, 2, first.learner), second.learner)
    list(islice(second.steps(2), 2))
    dtypes = {
        value.dtype
        for state in second.learner.optimizer.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    }
    assert torch.uint8 in dtypes
    assert_equal(second.learner, straight.learner)


class CountsInItsGroup(torch.optim.SGD):
    """Keeps its way in its parameter group, as Prodigy and schedule-free optimizers do."""

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            group["k"] = group.get("k", 0) + 1
            group["weight_sum"] = group.get("weight_sum", torch.zeros(())) + 1.0 / group["k"]
            group["lr"] *= float(group["weight_sum"])
        return super().step(closure)


def test_what_an_optimizer_keeps_in_its_groups_is_resumed(tmp_path: Path):
    straight, first, second = tiny_run(), tiny_run(), tiny_run()
    for run in (straight, first, second):
        run.learner.optimizer = CountsInItsGroup(run.learner.masters, lr=1e-2)
    list(islice(straight.steps(), 4))
    list(islice(first.steps(), 2))
    checkpoints.restore(checkpoints.save(tmp_path, 2, first.learner), second.learner)
    list(islice(second.steps(2), 2))
    assert_equal(second.learner, straight.learner)
    (group,) = second.learner.optimizer.param_groups
    assert (group["k"], float(group["weight_sum"])) == (4, pytest.approx(1 + 1 / 2 + 1 / 3 + 1 / 4))


def test_a_checkpoint_holds_the_fp32_adapter(tmp_path: Path):
    run = tiny_run(torch.bfloat16)
    next(run.steps())
    saved = checkpoints.save(tmp_path, 1, run.learner)
    stored, held = read_adapter(saved.adapter_file).layers, run.learner.adapter().layers
    assert saved.folder == tmp_path / "checkpoints" / "step-000001"
    assert set(stored) == set(held)
    assert all(torch.equal(stored[name].up, held[name].up) for name in held)
    assert {path.name for path in saved.folder.iterdir()} == {
        "adapter.safetensors", "optimizer.safetensors", "state.json"
    }  # fmt: skip


def test_a_run_can_stop_before_its_first_step(tmp_path: Path):
    checkpoints.save(tmp_path, 0, tiny_run().learner)
    latest = checkpoints.latest_checkpoint(tmp_path)
    assert latest is not None and checkpoints.restore(latest, tiny_run().learner) == 0


def test_no_checkpoint_is_no_place_to_go_on(tmp_path: Path):
    assert checkpoints.latest_checkpoint(tmp_path) is None


def test_half_written_folders_are_ignored_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    learner = tiny_run().learner
    for step in (1, 2, 3, 4):
        checkpoints.save(tmp_path, step, learner)
    folders = sorted((tmp_path / "checkpoints").iterdir())
    folders[3].rename(folders[3].with_name("step-000004.partial"))
    (folders[1] / "state.json").write_text('{"ver')
    adapter = folders[0] / "adapter.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:-10])
    with caplog.at_level(logging.WARNING):
        latest = checkpoints.latest_checkpoint(tmp_path)
    assert latest is not None and latest.step == 3
    assert [checkpoint.step for checkpoint in checkpoints.complete_checkpoints(tmp_path)] == [3]
    said = [record.getMessage() for record in caplog.records if record.name == checkpoints.logger.name]
    assert len(said) == 3 and all("is ignored" in message for message in said)


def test_saving_a_step_again_replaces_it_and_clears_what_was_half_written(tmp_path: Path):
    run = tiny_run()
    (tmp_path / "checkpoints" / "step-000001.partial").mkdir(parents=True)
    checkpoints.save(tmp_path, 1, run.learner)
    next(run.steps())
    saved = checkpoints.save(tmp_path, 1, run.learner)
    assert [path.name for path in saved.folder.parent.iterdir()] == ["step-000001"]
    assert any(layer.up.any() for layer in read_adapter(saved.adapter_file).layers.values())


def test_every_adapter_is_kept_and_the_optimizer_s_state_of_the_last_two(tmp_path: Path):
    run = tiny_run()
    for step in (1, 2, 3, 4):
        next(run.steps())
        checkpoints.save(tmp_path, step, run.learner)
    kept = checkpoints.complete_checkpoints(tmp_path)
    assert [checkpoint.step for checkpoint in kept] == [1, 2, 3, 4]
    assert [(checkpoint.folder / "optimizer.safetensors").exists() for checkpoint in kept] == [False, False, True, True]
    adapters = [read_adapter(checkpoint.adapter_file).layers for checkpoint in kept]
    assert len({layer.up.sum().item() for layers in adapters for layer in [next(iter(layers.values()))]}) == 4
    latest = checkpoints.latest_checkpoint(tmp_path)
    assert latest is not None and latest.step == 4


def test_a_run_whose_last_checkpoints_are_gone_does_not_begin_anew_in_silence(tmp_path: Path):
    learner = tiny_run().learner
    for step in (1, 2, 3):
        checkpoints.save(tmp_path, step, learner)
    for step in (2, 3):
        (tmp_path / "checkpoints" / f"step-{step:06d}").rename(tmp_path / f"away-{step}")
    with pytest.raises(RunError, match="holds the adapter alone"):
        checkpoints.latest_checkpoint(tmp_path)


def test_a_death_between_the_state_and_the_optimizer_s_file_leaves_a_candidate(tmp_path: Path):
    learner = tiny_run().learner
    for step in (1, 2, 3):
        checkpoints.save(tmp_path, step, learner)
    left = tmp_path / "checkpoints" / "step-000001" / "optimizer.safetensors"
    left.write_bytes(b"half")
    assert [checkpoint.step for checkpoint in checkpoints.complete_checkpoints(tmp_path)] == [1, 2, 3]


def test_steps_are_in_order_beyond_a_million(tmp_path: Path):
    learner = tiny_run().learner
    for step in (1_000_000, 999_999):
        checkpoints.save(tmp_path, step, learner)
    assert [checkpoint.step for checkpoint in checkpoints.complete_checkpoints(tmp_path)] == [999_999, 1_000_000]


def test_a_run_cannot_change_its_adapter_midway(tmp_path: Path):
    saved = checkpoints.save(tmp_path, 1, tiny_run().learner)
    with pytest.raises(RunError, match="another adapter.rank"):
        checkpoints.restore(saved, tiny_run(rank=2).learner)


def test_a_run_cannot_change_its_optimizer_midway(tmp_path: Path):
    saved = checkpoints.save(tmp_path, 1, tiny_run().learner)
    state = json.loads((saved.folder / "state.json").read_text()) | {"optimizer": "adamw8bit"}
    (saved.folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(RunError, match="train.optimizer=adamw8bit"):
        checkpoints.restore(saved, tiny_run(config=replace(CONFIG, steps=9)).learner)
