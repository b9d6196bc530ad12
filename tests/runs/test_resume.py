"""train.resume: where a training begins. What is there is gone on with or left alone, never written over."""

import shutil
from pathlib import Path

import pytest

from flux_lora.commands.train import train
from flux_lora.config.compose import compose_config, read_recipe
from flux_lora.errors import RunError
from flux_lora.train.checkpoints import complete_checkpoints
from flux_lora.train.reporters import read_metrics
from tests.test_path import photo_folder, settings

LESS = ("preview.every=0", "train.class_images=0", "train.preservation=0", "check.page=false", "train.save_every=2")


@pytest.fixture(scope="module")
def asked(tiny_flux: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A run of six steps that was made, with checkpoints after 2, 4 and 6."""
    place = tmp_path_factory.mktemp("resumed")
    asked = settings(tiny_flux, photo_folder(place / "photos", 5), place / "runs" / "mug", *LESS)
    assert train(compose_config([*asked, "train.resume=fresh"])) == 0
    return asked


@pytest.fixture
def made(asked: list[str]) -> Path:
    return next(Path(word.removeprefix("run.dir=")) for word in asked if word.startswith("run.dir="))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_fresh_begins_a_new_folder_and_refuses_one_that_holds_checkpoints(asked: list[str], made: Path):
    before = contents(made)
    with pytest.raises(RunError, match=r"train.resume is fresh, and .*mug holds checkpoints up to step 6") as refused:
        train(compose_config([*asked, "train.resume=fresh"]))
    assert "run.dir" in refused.value.fix and contents(made) == before
    assert read_recipe(made / "recipe.yaml").train.resume == "auto", "the folder's own recipe goes on"


@pytest.mark.parametrize("whole", [True, False])
def test_a_new_run_begins_where_another_s_checkpoint_is_and_then_is_gone_on_with(
    whole: bool, asked: list[str], made: Path, tmp_path: Path
):
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(made, old)
    shutil.rmtree(old / "checkpoints" / "step-000006")
    before = contents(old)
    again = [*asked, f"run.dir={new}", f"train.resume={old if whole else old / 'checkpoints' / 'step-000004'}"]
    assert train(compose_config(again)) == 0
    assert contents(old) == before
    assert [each.step for each in complete_checkpoints(new)] == [6]
    for name in ("adapter.safetensors", "optimizer.safetensors"):
        last = Path("checkpoints") / "step-000006" / name
        assert (new / last).read_bytes() == (made / last).read_bytes()
    lines = [[{**line, "seconds": 0} for line in read_metrics(place / "metrics.jsonl")] for place in (made, new)]
    assert len(lines[0]) == 6 and lines[0] == lines[1]
    shutil.rmtree(old)
    assert train(compose_config(again)) == 0, "it has a checkpoint of its own now"


def test_a_checkpoint_of_another_recipe_is_refused_with_what_is_different(asked: list[str], made: Path, tmp_path: Path):
    more = [f"train.resume={made}", f"run.dir={tmp_path / 'new'}", "train.seed=3", "train.learning_rate=1e-3"]
    with pytest.raises(RunError, match=r"learning_rate was 0.01 and is now 0.001; train.seed was 0 and is now 3") as no:
        train(compose_config([*asked, *more]))
    assert "adapter.start=" in no.value.fix and not (tmp_path / "new").exists()


def test_a_checkpoint_of_other_captions_is_refused(asked: list[str], made: Path, tmp_path: Path):
    photos = next(Path(word.removeprefix("data.folder=")) for word in asked if word.startswith("data.folder="))
    others = shutil.copytree(photos, tmp_path / "photos")
    (others / "photo_1.txt").write_text("a zorb mug on another shelf")
    more = [f"train.resume={made}", f"run.dir={tmp_path / 'new'}", f"data.folder={others}"]
    with pytest.raises(RunError, match="captions have changed since .*mug was begun"):
        train(compose_config([*asked, *more]))
    assert not complete_checkpoints(tmp_path / "new")


@pytest.mark.parametrize(
    ("place", "problem"),
    [("step-000002", "adapter alone"), ("step-000009", "no folder of checkpoints"), ("..", "no folder of checkpoints")],
)
def test_what_cannot_be_gone_on_from_is_refused_before_anything_is_written(
    place: str, problem: str, asked: list[str], made: Path, tmp_path: Path
):
    more = [
        f"train.resume={made / 'checkpoints' / place if place != '..' else tmp_path}",
        f"run.dir={tmp_path / 'new'}",
    ]
    with pytest.raises(RunError, match=problem):
        train(compose_config([*asked, *more]))
    assert not (tmp_path / "new").exists()
