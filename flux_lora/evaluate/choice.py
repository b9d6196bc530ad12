"""Which checkpoint to ship, at which strength, and why.

Limits first (what must not be spoilt), then likeness. Where likeness does not clearly differ, strength 1.0
is taken, then what leaks least, and then the earlier checkpoint: it has had less time to learn backgrounds and
poses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from flux_lora.evaluate.scores import METRICS, Metric, Score, difference

CLEAR = 0.05
"""A gap of likeness that is worth more training even where the interval cannot exclude chance."""
FAINT = 0.25
"""Likeness below which more training is advised."""


@dataclass(frozen=True, kw_only=True)
class ChoiceLimits:
    """What an adapter may spoil."""

    max_leakage: float = 0.25
    min_adherence: float = 0.85
    """Prompt following that has to be left, as a share of the base."""


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A bound that a score has to keep: at least it where higher is better, at most it where lower is."""

    metric: Metric
    knob: str
    """The field of ChoiceLimits with the bound."""
    advice: str
    """What to try where no candidate keeps it."""
    share_of: str = ""
    """What the bound is a share of, as words behind it."""

    def keeps(self, score: Score, limits: ChoiceLimits) -> bool:
        """Whether the score is within the bound."""
        value, bound = score.of(self.metric).value, self.bound(limits)
        return value >= bound if self.metric.higher_is_better else value <= bound

    def excess(self, score: Score, limits: ChoiceLimits) -> float:
        """How far beyond the bound, as a share of it; 0 within."""
        share = score.of(self.metric).value / self.bound(limits)
        return max(0.0, 1 - share if self.metric.higher_is_better else share - 1)

    def bound(self, limits: ChoiceLimits) -> float:
        """The highest or lowest value, a share."""
        return vars(limits)[self.knob]


def _metric(name: str) -> Metric:
    return next(metric for metric in METRICS if metric.name == name)


LIMITS = (
    Limit(
        metric=_metric("leakage"),
        knob="max_leakage",
        advice="a lower strength, fewer steps, or targets limited to attention",
    ),
    Limit(
        metric=_metric("adherence"),
        knob="min_adherence",
        share_of=" of the base",
        advice="captions that name the background, fewer steps, or an earlier checkpoint",
    ),
)
"""In the order in which messages name them. A metric without a row has no limit."""


def limit_on(metric: Metric) -> Limit | None:
    """The limit of a metric, if it has one."""
    return next((limit for limit in LIMITS if limit.metric == metric), None)


def within_limits(score: Score, limits: ChoiceLimits) -> bool:
    """Whether a score keeps all limits."""
    return all(limit.keeps(score, limits) for limit in LIMITS)


@dataclass(frozen=True)
class Choice:
    """The checkpoint to ship. passes: it keeps within the limits."""

    step: int
    strength: float
    why: str
    passes: bool


def choose_checkpoint(scores: Sequence[Score], limits: ChoiceLimits) -> Choice:
    """The most alike of those within the limits; the least spoilt if there is none."""
    within = [score for score in scores if _excess(score, limits) == 0]
    if not within:
        best = min(scores, key=lambda score: (_excess(score, limits), score.step))
        return Choice(best.step, best.strength, _why_none(best, limits), passes=False)
    top = max(within, key=lambda score: score.likeness.value)
    equals = [score for score in within if _no_clear_gap(top, score)]
    chosen = min(equals, key=lambda score: (abs(score.strength - 1), _in_percent(score.leakage.value), score.step))
    return Choice(chosen.step, chosen.strength, _why(chosen, top, len(within), len(scores), limits), passes=True)


def _excess(score: Score, limits: ChoiceLimits) -> float:
    return sum(limit.excess(score, limits) for limit in LIMITS)


def _no_clear_gap(top: Score, other: Score) -> bool:
    gap = difference(top.likeness, other.likeness)
    return gap.low <= 0 and gap.value < CLEAR


def _why(chosen: Score, top: Score, within: int, tried: int, limits: ChoiceLimits) -> str:
    share = f"{within} of the {tried} candidates keep" if tried > 1 else "The one candidate keeps"
    sentences = [f"{share} {_limits_in_words(limits)}."]
    if chosen == top:
        sentences.append(f"This one is the most like the held-out images: {_range(chosen)}.")
    else:
        sentences.append(
            f"Step {top.step} at strength {top.strength:g} is the most like the held-out images ({_range(top)}), "
            f"but not clearly more than this one ({_range(chosen)}), which {_better_in(chosen, top)}."
        )
    if chosen.likeness.value < FAINT:
        sentences.append("That is faint: train for more steps, or with a higher rank or learning rate.")
    return " ".join(sentences)


def _limits_in_words(limits: ChoiceLimits) -> str:
    return " and ".join(
        f"{limit.metric.title.lower()} at or {'above' if limit.metric.higher_is_better else 'below'} "
        f"{limit.bound(limits):.0%}{limit.share_of}"
        for limit in LIMITS
    )


def _better_in(chosen: Score, top: Score) -> str:
    """What decided between two that are alike."""
    if abs(chosen.strength - 1) < abs(top.strength - 1):
        return "needs no other strength than 1" if chosen.strength == 1 else "is nearer to strength 1"
    if _in_percent(chosen.leakage.value) < _in_percent(top.leakage.value):
        return f"changes other images less ({chosen.leakage.value:.0%} against {top.leakage.value:.0%})"
    return "is earlier, and so has learned less that is not the thing"


def _in_percent(share: float) -> int:
    return round(100 * share)


def _why_none(best: Score, limits: ChoiceLimits) -> str:
    broken = [limit for limit in LIMITS if not limit.keeps(best, limits)]
    faults = [
        f"{limit.metric.title.lower()} is {best.of(limit.metric).value:.0%} "
        f"(at {'least' if limit.metric.higher_is_better else 'most'} {limit.bound(limits):.0%})"
        for limit in broken
    ]
    return (
        f"No candidate keeps within the limits. This one comes nearest: {' and '.join(faults)}, "
        f"with a likeness of {_range(best)}. Try {'; or '.join(limit.advice for limit in broken)}."
    )


def _range(score: Score) -> str:
    return f"{score.likeness.value:.0%}, between {score.likeness.low:.0%} and {score.likeness.high:.0%}"
