"""The flow loss on held-out photos, as a question to training: is it learning what no training photo shows?

Eight fixed sigmas and one fixed noise for each photo and sigma, as MLPerf's FLUX.1 validates: two tables differ by the
adapter alone. What is said is by how much the loss fell, as a share; its interval is a bootstrap over photos of the
ratio of the sums, which is the difference with the earlier table as control variate and its coefficient fitted.
Falling loss says that something is learned, not which checkpoint is best: the scores do that.

Shape letters: I photos, S sigmas.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from flux_lora.evaluate.estimate import Estimate, ratio

SIGMAS = tuple((number + 0.5) / 8 for number in range(8))


@dataclass(frozen=True)
class LossTable:
    """The loss of each photo at each sigma, with the adapter as it was after a step; step 0 is the base."""

    step: int
    losses: Tensor  # IS
    photos: tuple[str, ...] = ()
    """What names each photo and its caption; empty in tables of earlier versions."""

    def to_json(self) -> str:
        """As one line."""
        return json.dumps({"step": self.step, "losses": self.losses.tolist(), "photos": self.photos})


def read_tables(file: Path) -> Iterator[LossTable]:
    """The tables that to_json wrote, a line each."""
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        kept = json.loads(line)
        yield LossTable(kept["step"], torch.tensor(kept["losses"]), tuple(kept.get("photos", ())))


def expected_loss(base: LossTable) -> Callable[[Tensor], Tensor]:
    """Sigmas B -> the base's loss there on photos it does not know, B: straight between the table's sigmas.

    Sigma explains three quarters of the variance of training losses: as a share of what was to be expected, a hundred
    steps say what raw losses say after five hundred.
    """
    means_S = base.losses.mean(dim=0)

    def expected(sigma: Tensor) -> Tensor:
        known = means_S.to(sigma.device)
        place = (sigma * len(SIGMAS) - 0.5).clamp(0, len(SIGMAS) - 1)
        below = place.long().clamp_max(len(SIGMAS) - 2)
        return torch.lerp(known[below], known[below + 1], place - below)

    return expected


def fall(now: LossTable, before: LossTable) -> Estimate:
    """By how much the loss is lower, as a share of what it was, with its interval over photos."""
    left = ratio(now.losses, before.losses)
    return Estimate(1 - left.value, 1 - left.high, 1 - left.low)


def fall_by_sigma(now: LossTable, before: LossTable) -> tuple[Estimate, ...]:
    """The same at each sigma."""
    columns = zip(now.losses.T, before.losses.T, strict=True)
    ratios = [ratio(one[:, None], other[:, None]) for one, other in columns]
    return tuple(Estimate(1 - left.value, 1 - left.high, 1 - left.low) for left in ratios)


def fall_in_words(now: LossTable, base: LossTable, last: LossTable | None) -> str:
    """One line for the person who watches."""
    found = fall(now, base)
    text = f"step {now.step}: held-out loss is {_beside(found)} the base's"
    return f"{text}, {_beside(fall(now, last))} step {last.step}'s" if last and last.step else text


def whole_in_words(now: LossTable, base: LossTable) -> str:
    """What the whole training did to it, for the page."""
    found = fall(now, base)
    went, low, high = ("fell", found.low, found.high) if found.value >= 0 else ("rose", -found.high, -found.low)
    by = f"{abs(found.value):.0%} (between {low:.0%} and {high:.0%})"
    return f"On photos that training never saw the loss {went} by {by}."


def _beside(found: Estimate) -> str:
    """20% (18% to 22%) below, or above."""
    if found.value >= 0:
        return f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%}) below"
    return f"{-found.value:.0%} ({-found.high:.0%} to {-found.low:.0%}) above"
