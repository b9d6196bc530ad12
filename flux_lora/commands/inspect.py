"""inspect: say what is in a LoRA file. It needs no model, no photos and no GPU."""

from math import isfinite
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flux_lora.adapter.inspect import Description, describe

BAR = 30
"""Letters of the longest bar."""


def inspect(file: Path) -> int:
    """Print what the file says and holds."""
    terminal = Console(highlight=False, soft_wrap=True)
    found = describe(file)
    terminal.print(_facts(found))
    terminal.print(_bars(found))
    return 0


def _facts(found: Description) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    rows = {
        "kind": f"{found.kind}, {found.layout} names, {', '.join(found.dtypes)}",
        "rank": ", ".join(f"{rank:g}" for rank in found.ranks) or "unknown",
        "alpha": ", ".join(f"{alpha:g}" for alpha in found.alphas) or "none stored",
        "layers": f"{found.layers} ({found.parameters:,} parameters, {found.bytes / 1e6:.1f} MB)",
        "trigger": found.trigger or "not said",
        "base": found.base or "not said",
        "title": found.title or "not said",
        "numbers": "all finite" if found.finite else "NOT FINITE: the file is broken",
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    return table


def _bars(found: Description) -> Table:
    table = Table("block", "length of the change", "", box=None, pad_edge=False)
    longest = max(filter(isfinite, found.norms.values()), default=0.0) or 1.0
    for block, norm in found.norms.items():
        bar = "█" * round(BAR * norm / longest) if isfinite(norm) else "not finite"
        table.add_row(Text(block), f"{norm:.3g}", bar)
    return table
