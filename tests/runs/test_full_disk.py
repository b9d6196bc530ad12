"""A full disk: what was saved stays, the message says how much is needed and where, and the same command goes on."""

import json
import resource
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch

from flux_lora.commands.train import train
from flux_lora.config.compose import compose_config
from flux_lora.errors import RunError
from flux_lora.train import checkpoints
from flux_lora.train.reporters import read_metrics
from tests.test_path import photo_folder, settings
from tests.train.tiny_run import tiny_run

MIB = 2**20
SIZE = 12 * MIB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk: Path, left: int) -> Path:
    """A file that leaves so many bytes."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    free = int(subprocess.run(["df", "--output=avail", "-B1", disk], capture_output=True, text=True).stdout.split()[1])
    filler.write_bytes(bytes(free - left))
    return filler


def test_a_checkpoint_without_room_leaves_the_last_one_and_goes_through_once_there_is(small_disk: Path):
    run = tiny_run()
    next(run.steps())
    checkpoints.save(small_disk, 1, run.learner)
    size = sum(file.stat().st_size for file in (small_disk / "checkpoints").rglob("*"))
    filler = fill(small_disk, left=size // 2)
    with pytest.raises(RunError, match=r"step-000002 takes .* MB, and .* MB are free") as refused:
        checkpoints.save(small_disk, 2, run.learner)
    assert str(small_disk) in refused.value.fix and "goes on after step 1" in refused.value.fix
    assert [file.name for file in (small_disk / "checkpoints").iterdir()] == ["step-000001"]
    latest, again = checkpoints.latest_checkpoint(small_disk), tiny_run()
    assert latest and checkpoints.restore(latest, again.learner) == 1
    filler.unlink()
    assert checkpoints.save(small_disk, 2, run.learner).step == 2


def test_a_file_that_may_not_grow_is_told_as_a_full_disk_is(tmp_path: Path):
    run, limits = tiny_run(), resource.getrlimit(resource.RLIMIT_FSIZE)
    checkpoints.save(tmp_path, 1, run.learner)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(RunError, match="step-000002 takes"):
            checkpoints.save(tmp_path, 2, run.learner)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [checkpoint.step for checkpoint in checkpoints.complete_checkpoints(tmp_path)] == [1]


def test_what_a_checkpoint_takes_is_counted(tmp_path: Path):
    run = tiny_run()
    list(islice(run.steps(), 1))
    folder = checkpoints.save(tmp_path, 1, run.learner).folder
    adapter, state = checkpoints.bytes_of_one(run.learner)
    for name, counted in (("adapter", adapter), ("optimizer", state)):
        assert counted == pytest.approx((folder / f"{name}.safetensors").stat().st_size, abs=8192)


def test_a_run_that_will_not_fit_is_refused_before_its_first_step_and_one_that_runs_out_goes_on(
    small_disk: Path, tiny_flux: Path, tmp_path: Path
):
    photos, run_dir = photo_folder(tmp_path / "photos", 5), small_disk / "runs" / "mug"
    less = ["preview.every=0", "train.save_every=1", "train.class_images=0", "train.preservation=0"]
    less += ["evaluate.held_out_losses=0", "check.page=false"]
    asked = settings(tiny_flux, photos, run_dir, *less)
    assert train(compose_config([*asked, f"run.dir={tmp_path / 'runs' / 'straight'}"])) == 0
    assert train(compose_config([*asked, f"run.dir={run_dir.parent / 'other'}", "train.steps=1"])) == 0  # the cache

    one = sum(file.stat().st_size for file in (run_dir.parent / "other" / "checkpoints").rglob("*"))
    filler = fill(small_disk, left=2 * one)
    with pytest.raises(RunError, match="6 checkpoints are still to come, which take"):
        train(compose_config(asked))
    assert not read_metrics(run_dir / "metrics.jsonl")

    filler = fill(small_disk, left=MIB // 2 + 2 * one)
    with pytest.MonkeyPatch.context() as patch:  # another program takes the room once the run goes on
        patch.setattr(checkpoints, "refuse_full_disk", lambda *_, **__: fill(small_disk, left=2 * one + one // 3))
        with pytest.raises(RunError, match="takes|is full"):
            train(compose_config(asked))
    kept = checkpoints.complete_checkpoints(run_dir)
    assert 1 <= len(kept) < 6
    assert json.loads((run_dir / "summary.json").read_text())["status"] in ("failed", "stopped")
    filler.unlink()
    assert train(compose_config(asked)) == 0
    for step in range(1, 7):
        file = Path("checkpoints") / f"step-{step:06d}" / "adapter.safetensors"
        assert (run_dir / file).read_bytes() == (tmp_path / "runs" / "straight" / file).read_bytes()
    assert torch.isfinite(torch.tensor([line["loss"] for line in read_metrics(run_dir / "metrics.jsonl")])).all()
