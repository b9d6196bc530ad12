"""Which checkpoint, at which strength, and why.

Limits first (what must not be spoilt), then likeness. Where likeness does not clearly differ, strength 1.0
is taken, then what leaks least, and then the earlier checkpoint: it has had less time to learn backgrounds and
poses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flux_lora.evaluate.estimates import difference
from flux_lora.evaluate.scores import Score

CLEAR = 0.05
"""A gap of likeness that is worth more training even where the interval cannot exclude chance."""
FAINT = 0.25


@dataclass(frozen=True, kw_only=True)
class ChoiceLimits:
    """What an adapter may spoil."""

    max_leakage: float = 0.25
    min_adherence: float = 0.85
    """Prompt following that has to be left, as a share of the base."""


@dataclass(frozen=True)
class Choice:
    """The checkpoint to ship. passes: it keeps within the limits."""

    step: int
    strength: float
    why: str
    passes: bool


def choose_checkpoint(scores: Sequence[Score], limits: ChoiceLimits) -> Choice:
    """The most alike of those within the limits; the least spoilt if there is none."""
    within = [each for each in scores if _excess(each, limits) == 0]
    if not within:
        best = min(scores, key=lambda each: (_excess(each, limits), each.step))
        return Choice(best.step, best.strength, _why_none(best, limits), passes=False)
    top = max(within, key=lambda each: each.likeness.value)
    equals = [each for each in within if _no_clear_gap(top, each)]
    chosen = min(equals, key=lambda each: (abs(each.strength - 1), _in_percent(each.leakage.value), each.step))
    return Choice(chosen.step, chosen.strength, _why(chosen, top, len(within), len(scores), limits), passes=True)


def _excess(score: Score, limits: ChoiceLimits) -> float:
    """How far beyond the limits, 0 within them."""
    leaked = max(0.0, score.leakage.value / limits.max_leakage - 1)
    return leaked + max(0.0, 1 - score.adherence.value / limits.min_adherence)


def _no_clear_gap(top: Score, other: Score) -> bool:
    gap = difference(top.likeness, other.likeness)
    return gap.low <= 0 and gap.value < CLEAR


def _why(chosen: Score, top: Score, within: int, tried: int, limits: ChoiceLimits) -> str:
    share = f"{within} of the {tried} candidates keep" if tried > 1 else "The one candidate keeps"
    words = [
        f"{share} leakage at or below {limits.max_leakage:.0%} and prompt following at or above "
        f"{limits.min_adherence:.0%} of the base."
    ]
    if chosen == top:
        words.append(f"This one is the most like the held-out pictures: {_range(chosen)}.")
    else:
        words.append(
            f"Step {top.step} at strength {top.strength:g} is the most like the held-out pictures ({_range(top)}), "
            f"but not clearly more than this one ({_range(chosen)}), which {_better_in(chosen, top)}."
        )
    if chosen.likeness.value < FAINT:
        words.append("That is faint: train for more steps, or with a higher rank or learning rate.")
    return " ".join(words)


def _better_in(chosen: Score, top: Score) -> str:
    """What decided between two that are alike."""
    if abs(chosen.strength - 1) < abs(top.strength - 1):
        return "needs no other strength than 1" if chosen.strength == 1 else "is nearer to strength 1"
    if _in_percent(chosen.leakage.value) < _in_percent(top.leakage.value):
        return f"changes other pictures less ({chosen.leakage.value:.0%} against {top.leakage.value:.0%})"
    return "is earlier, and so has learned less that is not the thing"


def _in_percent(share: float) -> int:
    return round(100 * share)


def _why_none(best: Score, limits: ChoiceLimits) -> str:
    faults, advice = [], []
    if best.leakage.value > limits.max_leakage:
        faults.append(f"leakage is {best.leakage.value:.0%} (at most {limits.max_leakage:.0%})")
        advice.append("a lower strength, fewer steps, or targets limited to attention")
    if best.adherence.value < limits.min_adherence:
        faults.append(f"prompt following is {best.adherence.value:.0%} (at least {limits.min_adherence:.0%})")
        advice.append("captions that name the background, fewer steps, or an earlier checkpoint")
    return (
        f"No candidate keeps within the limits. This one comes nearest: {' and '.join(faults)}, "
        f"with a likeness of {_range(best)}. Try {'; or '.join(advice)}."
    )


def _range(score: Score) -> str:
    return f"{score.likeness.value:.0%}, between {score.likeness.low:.0%} and {score.likeness.high:.0%}"
