"""Runs side by side, from what each left behind: which is best, by how much, and what they were made of.

Only runs that drew the same prompts with the same seeds can be told apart image by image; others are set beside each
other by their intervals alone, and that is said.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from flux_lora.config.compose import flat_settings, read_recipe
from flux_lora.config.schema import RunConfig
from flux_lora.errors import RunError
from flux_lora.evaluate.choice import Choice, Verdict, score_of
from flux_lora.evaluate.compared_runs import ComparedRun, RunsPage
from flux_lora.evaluate.estimate import Estimate, difference
from flux_lora.evaluate.scores import NearestPhoto, Score
from flux_lora.runs.candidates import BASE, candidate_name
from flux_lora.runs.evaluation import EvaluationRecord, evaluation_record, rendered_images
from flux_lora.runs.folder import RunFolder
from flux_lora.runs.summary import read_summary

MOST_PROMPTS = 4
RANKS = (Verdict.ship, Verdict.not_yet, Verdict.nothing)
OF_THE_FOLDER = "run."
"""Settings that differ between any two runs and say nothing."""


@dataclass(frozen=True)
class JudgedRun:
    """A run that was evaluated."""

    folder: RunFolder
    config: RunConfig
    record: EvaluationRecord
    choice: Choice
    score: Score

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.folder.root.name


def read_judged_run(root: Path) -> JudgedRun:
    """Raises RunError where the run was not evaluated, or is an edit's, which has scores of its own."""
    folder = RunFolder(root)
    record, choice_file = evaluation_record(folder), folder.evaluation / "choice.json"
    if record is None or not choice_file.is_file():
        raise RunError(f"{root} was not evaluated", fix=f"run: flux-lora evaluate run={root}")
    if record.spec.made_from:
        raise RunError(f"{root} learned an edit, and subjects are compared", fix=f"open {folder.report}")
    kept = json.loads(choice_file.read_text(encoding="utf-8"))
    choice = Choice(**kept | {"verdict": Verdict(kept["verdict"]), "strengths": tuple(kept["strengths"])})
    lines = (folder.evaluation / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    scores = [_score(json.loads(line)) for line in lines]
    return JudgedRun(folder, read_recipe(folder.recipe), record, choice, score_of(choice, scores))


def compare_runs(runs: Sequence[JudgedRun]) -> RunsPage:
    """The best first: by verdict, then by likeness."""
    ranked = sorted(runs, key=lambda run: (RANKS.index(run.choice.verdict), -run.score["likeness"].value))
    same = all(run.record.spec == runs[0].record.spec for run in runs)
    changed = _differences(ranked)
    return RunsPage(
        answer=_answer(ranked, same=same),
        same_prompts=same,
        runs=tuple(
            ComparedRun(
                name=run.name,
                verdict=run.choice.verdict,
                candidate=run.score.candidate,
                score=run.score,
                minutes=_minutes(run.folder),
                settings=changed[run.name],
                why=run.choice.why,
                images=_images(run, candidate_name(run.choice.step, run.choice.strength)),
            )
            for run in ranked
        ),
        prompts=ranked[0].record.spec.prompts[:MOST_PROMPTS],
        base=_images(ranked[0], BASE),
    )


def _answer(ranked: Sequence[JudgedRun], *, same: bool) -> str:
    best, second = ranked[0], ranked[1]
    if best.choice.verdict is not Verdict.ship:
        return f"None of these runs has a file to ship. {best.name} comes nearest: {best.choice.why}"
    if second.choice.verdict is not Verdict.ship:
        return f"{best.name} is the only one to ship."
    found = f"{best.name} is the most like the photos ({best.score['likeness'].value:.0%})"
    gap = difference(best.score["likeness"], second.score["likeness"]) if same else None
    apart = gap.low > 0 if gap else best.score["likeness"].low > second.score["likeness"].high
    leaks = f"leakage is {best.score['leakage'].value:.0%} against {second.score['leakage'].value:.0%}"
    if apart:
        return f"{found}, clearly more than {second.name} ({second.score['likeness'].value:.0%}); {leaks}."
    return (
        f"{found}, but not clearly more than {second.name} ({second.score['likeness'].value:.0%}); {leaks}. "
        "More prompts or seeds would tell them apart, if anything does."
    )


def _differences(runs: Sequence[JudgedRun]) -> Mapping[str, tuple[str, ...]]:
    """By run, the settings that are not the same in all."""
    flat = {run.name: flat_settings(run.config) for run in runs}
    keys = [key for key in flat[runs[0].name] if not key.startswith(OF_THE_FOLDER)]
    differing = [key for key in keys if len({each[key] for each in flat.values()}) > 1]
    return {name: tuple(f"{key}={each[key]}" for key in differing) for name, each in flat.items()}


def _images(run: JudgedRun, name: str) -> tuple[Image.Image, ...]:
    """The first seed of the first prompts."""
    spec = run.record.spec
    return tuple(rendered_images(run.folder, name, spec)[:: len(spec.seeds)][:MOST_PROMPTS])


def _minutes(folder: RunFolder) -> float:
    seconds = read_summary(folder)["seconds"]
    return sum(map(float, seconds.values())) / 60 if isinstance(seconds, dict) else 0.0


def _score(kept: Mapping[str, object]) -> Score:
    """A line of scores.jsonl."""
    estimates, nearest = kept["estimates"], kept.get("nearest", ())
    assert isinstance(estimates, dict) and isinstance(nearest, Sequence), "the file is ours"
    read = {
        name: Estimate(each["value"], each["low"], each["high"], tuple(map(tuple, each["each"])))
        for name, each in estimates.items()
    }
    photos = tuple(NearestPhoto(**each) for each in nearest)
    return Score(int(str(kept["step"])), float(str(kept["strength"])), read, photos)
