"""Which checkpoint to ship, at which strength, and why; or that there is nothing to ship.

First whether anything was learned: an adapter that does nothing follows every prompt. A candidate has learned if the
subject is there as a whole in enough of its images, surely in some, and the held-out photos find them before the
base's own. Then limits (what must not be spoilt), then likeness. Where likeness does not clearly
differ, strength 1.0 is taken, then what leaks least, and then the earlier checkpoint: it has had less time to learn
backgrounds and poses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from flux_lora.evaluate.estimate import difference
from flux_lora.evaluate.scores import BY_NAME, Metric, Score

CLEAR = 0.05
"""A gap of likeness that is worth more training even where the interval cannot exclude chance."""
RISING = 0.05
"""Likeness gained between the last two checkpoints that says training is not through."""
NOT_THERE = 0.45
"""Likeness below which images hold nothing that a person would call the subject."""


class Verdict(StrEnum):
    """What is to be done with the candidates."""

    ship = "ship"
    """One has learned the subject and keeps the limits."""
    not_yet = "not yet"
    """Some have learned it, and each spoils something."""
    nothing = "nothing to ship"
    """None has learned it."""


@dataclass(frozen=True, kw_only=True)
class ChoiceLimits:
    """What an adapter has to reach, and what it may spoil."""

    min_learned: float = 0.2
    """Share of images with the whole subject from which it counts as learned."""
    min_recognised: float = 0.4
    """Share of images with the whole subject that is asked of what ships."""
    max_leakage: float = 0.25
    min_adherence: float = 0.85
    """Prompt following that has to be left, as a share of the base."""
    max_bleeding: float = 0.25
    max_copying: float = 0.2
    max_artefacts: float = 0.15


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
        share = score.of(self.metric).value / max(self.bound(limits), 1e-6)
        return max(0.0, 1 - share if self.metric.higher_is_better else share - 1)

    def bound(self, limits: ChoiceLimits) -> float:
        """The highest or lowest value, a share."""
        return vars(limits)[self.knob]


LIMITS = (
    Limit(
        metric=BY_NAME["recognised"],
        knob="min_recognised",
        share_of=" of the images",
        advice="more steps, a higher rank or learning rate, or a lower train.preservation",
    ),
    Limit(
        metric=BY_NAME["leakage"],
        knob="max_leakage",
        advice="a lower strength, fewer steps, or targets limited to attention",
    ),
    Limit(
        metric=BY_NAME["adherence"],
        knob="min_adherence",
        share_of=" of the base",
        advice="captions that name the background, fewer steps, or an earlier checkpoint",
    ),
    Limit(
        metric=BY_NAME["bleeding"],
        knob="max_bleeding",
        advice="train.preservation above 0 with more train.class_images, or a rarer trigger",
    ),
    Limit(
        metric=BY_NAME["copying"],
        knob="max_copying",
        advice="more photos on other backgrounds, captions that name them, or fewer steps",
    ),
    Limit(
        metric=BY_NAME["artefacts"],
        knob="max_artefacts",
        advice="a lower learning rate, a lower strength, or an earlier checkpoint",
    ),
)
"""In the order in which messages name them. A metric without a row has no limit."""


def limit_on(metric: Metric) -> Limit | None:
    """The limit of a metric, if it has one."""
    return next((limit for limit in LIMITS if limit.metric == metric), None)


def within_limits(score: Score, limits: ChoiceLimits) -> bool:
    """Whether a score keeps all limits."""
    return all(limit.keeps(score, limits) for limit in LIMITS)


def has_learned(score: Score, limits: ChoiceLimits) -> bool:
    """Whether enough images show the subject, and the intervals exclude that this is chance."""
    whole = score["recognised"]
    return whole.value >= limits.min_learned and whole.low > 0 and score["retrieval"].low > 0


def is_overdriven(score: Score, limits: ChoiceLimits) -> bool:
    """Whether it changes what nobody asked for and shows nothing of the subject: too strong, and not too weak."""
    leaks = score["leakage"].value > limits.max_leakage
    return leaks and score["likeness"].value < NOT_THERE and not has_learned(score, limits)


@dataclass(frozen=True)
class Choice:
    """The checkpoint to ship, or the one that comes nearest to it."""

    step: int
    strength: float
    why: str
    passes: bool
    """Whether the verdict is to ship."""
    verdict: Verdict = Verdict.ship
    strengths: tuple[float, float] = (1.0, 1.0)
    """Lowest and highest strength at which this checkpoint was tried and is as good."""


def score_of(choice: Choice, scores: Sequence[Score]) -> Score:
    """The score of the candidate that was chosen among these."""
    return next(each for each in scores if (each.step, each.strength) == (choice.step, choice.strength))


def choose_checkpoint(scores: Sequence[Score], limits: ChoiceLimits) -> Choice:
    """The most alike of those that have learned and keep the limits; else the nearest, and what to change."""
    learned = [score for score in scores if has_learned(score, limits)]
    if not learned:
        best = max(scores, key=lambda score: (score["likeness"].value, -score.step))
        return choice_of(best, _why_nothing(best, scores, limits), Verdict.nothing, [best])
    within = [score for score in learned if _excess(score, limits) == 0]
    if not within:
        best = min(learned, key=lambda score: (_excess(score, limits), score.step))
        return choice_of(best, _why_not_yet(best, limits), Verdict.not_yet, [best])
    top = max(within, key=lambda score: score["likeness"].value)
    equals = [score for score in within if _no_clear_gap(top, score)]
    chosen = min(equals, key=lambda score: (abs(score.strength - 1), _in_percent(score["leakage"].value), score.step))
    why = _why(chosen, top, len(within), len(scores), limits)
    return choice_of(chosen, why, Verdict.ship, equals)


def choice_of(score: Score, why: str, verdict: Verdict, equals: Sequence[Score]) -> Choice:
    """Of this candidate; its range of strengths is that of its checkpoint among those that are as good."""
    strengths = [each.strength for each in equals if each.step == score.step]
    span = (min(strengths), max(strengths))
    return Choice(score.step, score.strength, why, verdict is Verdict.ship, verdict, span)


def _excess(score: Score, limits: ChoiceLimits) -> float:
    return sum(limit.excess(score, limits) for limit in LIMITS)


def _no_clear_gap(top: Score, other: Score) -> bool:
    gap = difference(top["likeness"], other["likeness"])
    return gap.low <= 0 and gap.value < CLEAR


def _why(chosen: Score, top: Score, within: int, tried: int, limits: ChoiceLimits) -> str:
    share = f"{within} of the {tried} candidates have" if tried > 1 else "The one candidate has"
    keeping = "keep" if tried > 1 else "keeps"
    sentences = [f"{share} learned the subject and {keeping} {_limits_in_words(limits)}."]
    if chosen == top:
        sentences.append(f"This one is the most like the held-out photos: {_range(chosen)}.")
    else:
        sentences.append(
            f"Step {top.step} at strength {top.strength:g} is the most like the held-out photos ({_range(top)}), "
            f"but not clearly more than this one ({_range(chosen)}), which {_better_in(chosen, top)}."
        )
    return " ".join(sentences)


def _limits_in_words(limits: ChoiceLimits) -> str:
    bounds = [
        f"{limit.metric.title.lower()} at or {'above' if limit.metric.higher_is_better else 'below'} "
        f"{limit.bound(limits):.0%}{limit.share_of}"
        for limit in LIMITS
    ]
    return f"{', '.join(bounds[:-1])} and {bounds[-1]}"


def _better_in(chosen: Score, top: Score) -> str:
    """What decided between two that are alike."""
    if abs(chosen.strength - 1) < abs(top.strength - 1):
        return "needs no other strength than 1" if chosen.strength == 1 else "is nearer to strength 1"
    mine, theirs = chosen["leakage"].value, top["leakage"].value
    if _in_percent(mine) < _in_percent(theirs):
        return f"changes other images less ({mine:.0%} against {theirs:.0%})"
    return "is earlier, and so has learned less that is not the thing"


def _in_percent(share: float) -> int:
    return round(100 * share)


def _why_not_yet(best: Score, limits: ChoiceLimits) -> str:
    broken = [limit for limit in LIMITS if not limit.keeps(best, limits)]
    faults = [
        f"{limit.metric.title.lower()} is {best.of(limit.metric).value:.0%} "
        f"(at {'least' if limit.metric.higher_is_better else 'most'} {limit.bound(limits):.0%})"
        for limit in broken
    ]
    return (
        f"The subject was learned, and no candidate that has it keeps within the limits. This one comes nearest: "
        f"{' and '.join(faults)}, with a likeness of {_range(best)}. "
        f"Try {'; or '.join(limit.advice for limit in broken)}."
    )


def _why_nothing(best: Score, scores: Sequence[Score], limits: ChoiceLimits) -> str:
    whole = best["recognised"]
    asked = f"; {limits.min_learned:.0%} or more are asked for" if whole.value < limits.min_learned else ""
    return (
        f"No candidate has learned the subject. The nearest shows it as a whole in {whole.value:.0%} of its images "
        f"(between {whole.low:.0%} and {whole.high:.0%}{asked}), with a likeness of {_range(best)}. "
        f"{_chance(best)}{_what_to_change(best, scores, limits)}"
    )


def _chance(best: Score) -> str:
    """What of it may be chance."""
    again = best["retrieval"]
    if again.low <= 0:
        return (
            "The held-out photos do not clearly find its images before the base's own "
            f"(found again {again.value:.0%}, between {again.low:.0%} and {again.high:.0%}). "
        )
    return ""


def _what_to_change(best: Score, scores: Sequence[Score], limits: ChoiceLimits) -> str:
    """Advice that follows from what else changed, and from how likeness went over the steps."""
    if is_overdriven(best, limits):
        return (
            f"Images that do not ask for it changed too (leakage {best['leakage'].value:.0%}), so its weights are too "
            "strong, and not too weak: try a quarter of its strength, an earlier checkpoint, or a lower learning rate."
        )
    farthest_first = sorted(scores, key=lambda each: -abs(each.strength - 1))  # so that the nearest to 1 stays
    by_step = {score.step: score["likeness"].value for score in farthest_first}
    steps = sorted(by_step)
    if steps == [0]:
        return "See that data.trigger is the word that the file was trained with, and the photos those of its subject."
    if len(steps) > 1 and by_step[steps[-1]] - by_step[steps[-2]] >= RISING:
        return (
            f"Likeness still rises ({by_step[steps[-2]]:.0%} at step {steps[-2]}, {by_step[steps[-1]]:.0%} at "
            f"{steps[-1]}): train for more steps."
        )
    if by_step[best.step] - by_step[steps[-1]] >= RISING:
        return f"Likeness falls after step {best.step}: try a lower learning rate, and photos that agree more."
    trend = "It does not rise any more: try" if len(steps) > 1 else "Try more steps,"
    return (
        f"{trend} a lower train.preservation, a higher learning rate or rank, and see in the dataset page whether "
        "every caption says the trigger and every photo shows the subject."
    )


def _range(score: Score) -> str:
    found = score["likeness"]
    return f"{found.value:.0%}, between {found.low:.0%} and {found.high:.0%}"
