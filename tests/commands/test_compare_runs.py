"""evaluate runs=[a,b] sets runs side by side, and says which is best only as loudly as the intervals allow."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from flux_lora.__main__ import answer
from flux_lora.adapter.files import write_dialect
from flux_lora.adapter.layer_types import Adapter
from flux_lora.commands.terminal import FELL_SHORT
from flux_lora.errors import ConfigError, RunError
from flux_lora.evaluate.choice import Choice, Verdict
from flux_lora.evaluate.estimate import Estimate
from flux_lora.evaluate.scores import METRICS, Score
from flux_lora.runs.comparison import JudgedRun, compare_runs, read_judged_run
from tests.commands import test_evaluate
from tests.test_path import photos, settings

adapter = test_evaluate.adapter
__all__ = ["adapter", "photos"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("compared")


@pytest.fixture
def judged(adapter: Adapter, tiny_flux: Path, photos: Path, kept: Path) -> tuple[Path, Path]:
    """One file, judged in two runs at two strengths."""
    import torch

    places = (kept / "weak", kept / "plain")
    file = kept / "theirs.safetensors"
    if not file.is_file():
        write_dialect(adapter, file, dialect="diffusers", metadata={}, dtype=torch.float32)
        for place, strength in zip(places, (0.25, 1.0), strict=True):
            words = settings(tiny_flux, photos, place, f"adapter={file}", f"evaluate.strengths=[{strength}]")
            assert answer(["evaluate", *words]) == FELL_SHORT
    return places


def test_runs_stand_side_by_side_with_what_differs(judged: tuple[Path, Path], tmp_path: Path, capsys):
    page = tmp_path / "comparison.html"
    code = answer(["evaluate", f"runs=[{judged[0]},{judged[1]}]", f"out={page}"])
    assert code == FELL_SHORT
    words = page.read_text(encoding="utf-8")
    assert "evaluate.strengths=(0.25,)" in words or "evaluate.strengths=[0.25]" in words
    assert "weak" in words and "plain" in words and "Near" not in words
    assert words.count("<img") >= 3
    assert "None of these runs has a file to ship" in capsys.readouterr().out


def test_a_run_that_was_not_evaluated_and_a_single_run_are_refused(judged: tuple[Path, Path], tmp_path: Path):
    with pytest.raises(RunError, match="was not evaluated"):
        answer(["evaluate", f"runs=[{judged[0]},{tmp_path}]"])
    with pytest.raises(ConfigError, match="nothing to compare"):
        answer(["evaluate", f"runs=[{judged[0]}]"])


def test_what_is_read_back_is_what_was_scored(judged: tuple[Path, Path]):
    run = read_judged_run(judged[0])
    line = json.loads((judged[0] / "evaluation" / "scores.jsonl").read_text().splitlines()[0])
    assert run.score["leakage"].value == line["estimates"]["leakage"]["value"]
    assert run.score["leakage"].each == tuple(map(tuple, line["estimates"]["leakage"]["each"]))


def _standing_at(run: JudgedRun, likeness: float, spread: float) -> JudgedRun:
    each = tuple((likeness + spread * (-1) ** n,) for n in range(6))
    found = dict.fromkeys((metric.name for metric in METRICS), Estimate(0.1, 0.0, 0.2, each))
    found["likeness"] = Estimate(likeness, likeness - spread, likeness + spread, each)
    score = Score(run.choice.step, run.choice.strength, found)
    return replace(run, score=score, choice=replace(run.choice, verdict=Verdict.ship))


def test_the_best_is_called_clearly_better_only_where_it_is(judged: tuple[Path, Path]):
    weak, plain = (read_judged_run(place) for place in judged)
    apart = compare_runs([_standing_at(weak, 0.5, 0.05), _standing_at(plain, 0.9, 0.05)])
    assert [run.name for run in apart.runs] == ["plain", "weak"]
    assert "clearly more than weak (50%)" in apart.answer
    near = compare_runs([_standing_at(weak, 0.9, 0.0), _standing_at(plain, 0.9, 0.3)])
    assert "not clearly more" in near.answer


def test_one_that_ships_stands_before_one_that_is_more_alike_and_does_not(judged: tuple[Path, Path]):
    weak, plain = (read_judged_run(place) for place in judged)
    spoilt = _standing_at(plain, 0.9, 0.05)
    spoilt = replace(spoilt, choice=Choice(0, 1.0, "leaks", passes=False, verdict=Verdict.not_yet))
    page = compare_runs([spoilt, _standing_at(weak, 0.5, 0.05)])
    assert page.runs[0].name == "weak"
    assert page.answer == "weak is the only one to ship."
