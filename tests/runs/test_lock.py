"""One process trains in a run folder; another is refused before it writes anything."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flux_lora.commands.train import train
from flux_lora.config.compose import compose_config
from flux_lora.errors import RunError
from flux_lora.runs.lock import LOCK, alone_in
from tests.test_path import photos, settings

__all__ = ["photos"]

HOLD = "import sys, time\nfrom pathlib import Path\nfrom flux_lora.runs.lock import alone_in\n" + (
    "with alone_in(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
)


def test_a_second_process_is_refused_and_the_first_is_named_until_it_is_gone(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout and first.stdout.readline() == "held\n"
        with pytest.raises(RunError, match=rf"process \(number {first.pid}\) trains in"), alone_in(tmp_path):
            pass
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    with alone_in(tmp_path):
        assert (tmp_path / LOCK).read_text() == str(os.getpid())


def test_the_lock_is_given_back_where_training_fails(tmp_path: Path):
    with pytest.raises(ValueError, match="no"), alone_in(tmp_path):
        raise ValueError("no")
    with alone_in(tmp_path):
        pass


def test_training_is_refused_while_another_trains_there_and_nothing_changes(
    tiny_flux: Path, photos: Path, tmp_path: Path
):
    config = compose_config(settings(tiny_flux, photos, tmp_path / "run", "train.steps=2", "train.save_every=1"))
    (tmp_path / "run").mkdir()
    with alone_in(tmp_path / "run"), pytest.raises(RunError, match="trains in"):
        train(config)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [LOCK, "recipe.yaml"]
    assert train(config) == 0
