"""Whether the product recipe runs on a card, by base and by the plan: the tables of the README.

python -m benchmarks.cards          prints it
python -m benchmarks.cards --write  and puts it into README.md, between its marks

No cell was measured on a GPU; benchmarks/gpu.py is what would measure them.
"""

import sys
from pathlib import Path

from flux_lora.config.compose import compose_config
from flux_lora.errors import ConfigError
from flux_lora.runs.auto_hardware import fastest, planner_of
from flux_lora.runs.plan import CARDS, GIB, Plan, Planner

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- cards: python -m benchmarks.cards --write -->\n", "<!-- end of cards -->\n"
SIDES = (512, 768, 1024)
SIZES: dict[int, str] = {8: "RTX 4060", 12: "RTX 3060", 16: "RTX 4060 Ti", 24: "RTX 4090", 48: "L40S", 80: "H100"}
"""GB -> the card whose seconds are told."""
WORDS = ("recipe=product", "data.folder=photos", "data.trigger=zorb", "data.class_word=mug")
SMALLER = ("adapter.rank=16",)
BASES = {
    "FLUX.1-dev": "flux_dev",
    "FLUX.2 klein base 4B": "flux2_klein_4b",
    "FLUX.2 klein base 9B": "flux2_klein_9b",
    "FLUX.2-dev": "flux2_dev",
    "FLUX.3 klein base": "flux3_klein",
}
"""What the tables call a base -> its model= recipe."""


def main() -> None:
    """Print the table, and keep it if asked to."""
    text = table()
    print(text)
    if "--write" in sys.argv:
        README.write_text(with_table(README.read_text(encoding="utf-8"), text), encoding="utf-8")


def with_table(page: str, text: str) -> str:
    """The page with the table between its marks."""
    before, rest = page.split(BEGIN)
    return before + BEGIN + text + END + rest.split(END)[1]


def table() -> str:
    """Of all bases."""
    return "\n".join(map(table_of, BASES))


def table_of(base: str) -> str:
    """A row a card, a column a size."""
    model = f"model={BASES[base]}"
    planners = [_planner(side, model) for side in SIDES]
    smaller = [_planner(side, model, *SMALLER) for side in SIDES]
    rows = [f"| {base} | {' | '.join(f'{side} x {side}' for side in SIDES)} |", "| --- " * (len(SIDES) + 1) + "|"]
    for card, name in SIZES.items():
        cells = (_cell(card, name, *both) for both in zip(planners, smaller, strict=True))
        rows.append(f"| {card} GB ({name}) | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _planner(side: int, *more: str) -> Planner:
    return planner_of(compose_config([*WORDS, f"data.resolution={side}", *more]))


def _cell(card: int, name: str, planner: Planner, smaller: Planner) -> str:
    plan, note = _plan(planner, card), ""
    if plan is None:
        plan, note = _plan(smaller, card), ", rank 16"
    if plan is None:
        return "no"
    seconds = plan.seconds_per_step(CARDS[name][1])
    return f"{plan.way}{note}: {plan.peak.bytes / GIB:.1f} GB, {seconds:.2g} s"


def _plan(planner: Planner, card: int) -> Plan | None:
    try:
        return fastest(planner, card)
    except ConfigError:
        return None


if __name__ == "__main__":
    main()
