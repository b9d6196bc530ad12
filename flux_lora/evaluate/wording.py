"""Numbers as a person says them."""

from flux_lora.evaluate.choice import ChoiceLimits
from flux_lora.evaluate.scores import Score


def percent(share: float) -> str:
    """0.863 -> 86%."""
    return f"{round(100 * share)}%".replace("-", "−")


def duration(seconds: float) -> str:
    """372 -> 6 min 12 s."""
    whole = round(seconds)
    if whole < 1:
        return f"{seconds:.1f} s"
    hours, minutes, left = whole // 3600, whole % 3600 // 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {left} s" if minutes else f"{left} s"


def bytes_in_words(count: int) -> str:
    """1300000 -> 1.3 MB."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"


def within_limits(score: Score, limits: ChoiceLimits) -> bool:
    """Whether a score keeps within the limits."""
    return score.leakage.value <= limits.max_leakage and score.adherence.value >= limits.min_adherence


def result_in_words(trigger: str, class_word: str, score: Score) -> str:
    """The whole result in two plain sentences."""
    return (
        f"Say “{trigger}” and the picture comes {_way(score.likeness.value)} from the base’s idea of "
        f"“{class_word}” to the held-out photos. {_prompts(score.adherence.value)}, and pictures that do not say it "
        f"changed by {percent(score.leakage.value)}."
    )


def _way(share: float) -> str:
    if share >= 1:
        return f"all the way ({percent(share)})"
    if share <= 0:
        return f"none of the way ({percent(share)})"
    return f"{percent(share)} of the way"


def _prompts(share: float) -> str:
    if share >= 1:
        return f"Prompts are followed as well as before ({percent(share)})"
    return f"Prompts are followed {percent(share)} as well as before"
