"""train.evaluate_every scores checkpoints as they are saved, and ends training where more steps bring nothing."""

from pathlib import Path

import pytest
from safetensors.torch import load_file

from flux_lora.commands.train import train
from flux_lora.config.compose import compose_config
from flux_lora.errors import ConfigError
from flux_lora.evaluate.choice import ChoiceLimits
from flux_lora.evaluate.estimate import Estimate
from flux_lora.evaluate.scores import METRICS, Score
from flux_lora.runs.early_stop import STOPPED_EARLY, unbeaten
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.summary import note
from tests.test_path import photos, settings

__all__ = ["photos"]


def scored(step: int, likeness: float, leakage: float = 0.1) -> Score:
    each = tuple((likeness,) for _ in range(6))
    found = dict.fromkeys((metric.name for metric in METRICS), Estimate(0.1, 0.1, 0.1))
    found |= {name: Estimate(likeness, likeness, likeness, each) for name in ("likeness", "recognised", "retrieval")}
    found |= {"adherence": Estimate(1, 1, 1), "leakage": Estimate(leakage, leakage, leakage)}
    return Score(step, 1.0, found)


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([scored(100, 0.6), scored(200, 0.8)], 0),
        ([scored(100, 0.8), scored(200, 0.8)], 0),
        ([scored(100, 0.8), scored(200, 0.8), scored(300, 0.8)], 100),
        ([scored(100, 0.8), scored(200, 0.9, 0.6), scored(300, 0.95, 0.7)], 100),
        ([scored(100, 0.1), scored(200, 0.1), scored(300, 0.1)], 0),
        ([scored(100, 0.8), scored(200, 0.7), scored(300, 0.95)], 0),
    ],
    ids=["rising", "only one later", "level", "later ones spoil", "nothing learned", "rising again"],
)
def test_training_ends_where_a_checkpoint_that_ships_was_not_beaten_twice(scores: list[Score], best: int):
    assert unbeaten(scores, ChoiceLimits()) == best


def test_scores_while_training_change_no_bit_of_the_adapter_and_their_images_serve_the_evaluation(
    tiny_flux: Path, photos: Path, tmp_path: Path
):
    plain, scored_ = tmp_path / "plain", tmp_path / "scored"
    common = ("train.steps=4", "train.save_every=2")
    assert train(compose_config(settings(tiny_flux, photos, plain, *common))) == 0
    assert train(compose_config(settings(tiny_flux, photos, scored_, *common, "train.evaluate_every=2"))) == 0
    one, other = (load_file(next(place.glob("checkpoints/*4/adapter.safetensors"))) for place in (plain, scored_))
    assert all(one[key].equal(other[key]) for key in one)
    drawn = sorted(path.name for path in RunFolder(scored_).evaluation.iterdir() if path.is_dir())
    assert drawn == ["base", "step-000002-strength-1", "step-000004-strength-1"]


def test_a_run_that_ended_early_stays_ended_until_the_rule_is_switched_off(
    tiny_flux: Path, photos: Path, tmp_path: Path
):
    words = settings(tiny_flux, photos, tmp_path / "run", "train.steps=4", "train.save_every=2")
    assert train(compose_config([*words, "train.evaluate_every=2", "run.dir=" + str(tmp_path / "run")])) == 0
    for step in (tmp_path / "run" / "checkpoints").glob("*4"):
        step.rename(tmp_path / "later")
    note(RunFolder(tmp_path / "run"), {STOPPED_EARLY: 2})
    assert train(compose_config([*words, "train.evaluate_every=2"])) == 0
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1
    assert train(compose_config(words)) == 0
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2


def test_scores_between_checkpoints_are_refused(tiny_flux: Path, photos: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="checkpoints are scored"):
        compose_config(settings(tiny_flux, photos, tmp_path / "r", "train.save_every=2", "train.evaluate_every=3"))
