"""Scores of an edit on held-out pairs, and the choice among its checkpoints.

A pair says itself what is to change: the places whose colours differ between before and after. There an image is asked
how far it has gone; everywhere else, whether it stayed.

Shape letters: P pairs, S seeds, T places (GRID * GRID).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from flux_lora.evaluate.choice import CLEAR, Choice, ChoiceLimits, Verdict, choice_of
from flux_lora.evaluate.estimate import Estimate, difference, estimate
from flux_lora.evaluate.features import SOFTNESS, colours_of
from flux_lora.evaluate.scores import Score

CHANGED = 0.9
"""Likeness of two colours, 1 being the same, below which a place counts as changed: a CIELAB distance of 14."""
FEWEST_CHANGED = 0.02
"""Share of the places that count as changed at least, the most changed of them: an edit may be faint."""
FEWEST_LEFT = 0.05
"""Share of the places that a pair has to leave alone for them to be judged: ink changes nearly all of a photo."""
MIN_UNTOUCHED = 0.85
"""Share of the other places that has to look as before in what ships."""


@dataclass(frozen=True)
class EditPair:
    """A held-out pair, as the base's VAE gives its images back."""

    before: Image.Image
    after: Image.Image


def score_edits(
    pairs: Sequence[EditPair], images: Sequence[Sequence[Image.Image]], *, step: int, strength: float
) -> Score:
    """Of one candidate: its images of each pair, one for each seed."""
    found = [[_measured(pair, image) for image in of_pair] for pair, of_pair in zip(pairs, images, strict=True)]
    edited_PS, untouched_PS = (torch.tensor([[each[n] for each in row] for row in found]) for n in (0, 1))
    return Score(step, strength, {"edited": estimate(edited_PS), "untouched": estimate(untouched_PS)})


def choose_edit(scores: Sequence[Score], base: Score, limits: ChoiceLimits) -> Choice:
    """The candidate that makes most of the edit and leaves the rest alone; strength 1 and the earlier one among equals.

    It has learned if it makes more of it than the base does, beyond chance, and limits.min_learned at least; what ships
    makes limits.min_recognised of it.
    """
    learned = [score for score in scores if _beats(score, base) and score["edited"].value >= limits.min_learned]
    if not learned:
        best = max(scores, key=lambda score: score["edited"].value)
        return choice_of(best, _why_nothing(best, base, scores, limits), Verdict.nothing, [best])
    kept = [score for score in learned if score["untouched"].value >= MIN_UNTOUCHED]
    within = [score for score in kept if score["edited"].value >= limits.min_recognised]
    if not within:
        best = max(kept or learned, key=lambda score: score["edited"].value * score["untouched"].value)
        return choice_of(best, _why_not_yet(best, limits), Verdict.not_yet, [best])
    top = max(within, key=lambda score: score["edited"].value)
    gaps = [(score, difference(top["edited"], score["edited"])) for score in within]
    equals = [score for score, gap in gaps if gap.low <= 0 and gap.value < CLEAR]
    chosen = min(equals, key=lambda score: (abs(score.strength - 1), score.step))
    tried = f"{len(within)} of the {len(scores)} candidates make" if len(scores) > 1 else "The one candidate makes"
    why = (
        f"{tried} the edit and leave {MIN_UNTOUCHED:.0%} of the rest alone at least. This one makes "
        f"{_range(chosen['edited'])} of it, where the base makes {base['edited'].value:.0%}, and leaves "
        f"{chosen['untouched'].value:.0%} of the rest alone."
    )
    return choice_of(chosen, why, Verdict.ship, equals)


def _measured(pair: EditPair, image: Image.Image) -> tuple[float, float]:
    """How much of the edit is made, and how much of the rest is as before."""
    before, after, found = (torch.from_numpy(colours_of(each)) for each in (pair.before, pair.after, image))
    same_T = _alike(before, after)
    most = torch.quantile(same_T, FEWEST_CHANGED)
    changed_T = same_T <= torch.maximum(most, torch.tensor(CHANGED, dtype=same_T.dtype))
    gone = (_alike(found, after) - same_T)[changed_T].sum() / (1 - same_T)[changed_T].sum().clamp_min(1e-6)
    stayed = (_alike(found, before) >= CHANGED)[~changed_T]
    enough = len(stayed) >= FEWEST_LEFT * len(changed_T)
    return float(gone.clamp(0, 1)), float(stayed.float().mean()) if enough else 1.0


def _alike(one_T3: Tensor, other_T3: Tensor) -> Tensor:
    """Likeness of colours, place by place: 1 for the same, a Gaussian of their CIELAB distance."""
    return torch.exp(-(one_T3 - other_T3).square().sum(dim=-1) / (2 * SOFTNESS**2))


def _beats(score: Score, base: Score) -> bool:
    """By more than a few places, and beyond chance."""
    gain = difference(score["edited"], base["edited"])
    return gain.value >= CLEAR and gain.low > 0


def _why_nothing(best: Score, base: Score, scores: Sequence[Score], limits: ChoiceLimits) -> str:
    steps = {score.step: score["edited"].value for score in scores if score.strength == best.strength}
    last, before = steps[max(steps)], [value for step, value in steps.items() if step < max(steps)]
    rises = bool(before) and last > max(before) + CLEAR
    advice = (
        "It still rises: train for more steps."
        if rises
        else "Try more pairs, a higher learning rate or rank, and see that each caption says what is done."
    )
    return (
        f"No candidate has learned the edit. The nearest makes {_range(best['edited'])} of it "
        f"({limits.min_learned:.0%} or more are asked for), and the base {base['edited'].value:.0%}. {advice}"
    )


def _why_not_yet(best: Score, limits: ChoiceLimits) -> str:
    edited, untouched = best["edited"], best["untouched"]
    if untouched.value < MIN_UNTOUCHED:
        return (
            f"The edit was learned ({_range(edited)}), and {1 - untouched.value:.0%} of what it should leave alone "
            f"changes too (at most {1 - MIN_UNTOUCHED:.0%}). See that the pairs lie over each other, and try more of "
            "them, fewer steps, or a lower strength."
        )
    return (
        f"The edit was learned in part: {_range(edited)}, where {limits.min_recognised:.0%} are asked of what ships. "
        "Try more steps, more pairs, or a higher rank."
    )


def _range(found: Estimate) -> str:
    return f"{found.value:.0%} (between {found.low:.0%} and {found.high:.0%})"
