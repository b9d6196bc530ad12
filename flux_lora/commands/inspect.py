"""inspect: say what is in a LoRA file of any tool. It needs no model, no photos and no GPU."""

import gc
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flux_lora.adapter.dialects.module_names import BLOCK_TYPES, REST
from flux_lora.adapter.inspection import Description, Group, describe
from flux_lora.config.choices import PrintFormat
from flux_lora.config.file_verbs import InspectArgs

HEIGHTS = "▁▂▃▄▅▆▇█"
BROKEN = "!"
MOST_BLOCKS = 64
"""FLUX.1 has 19 double and 38 single ones; a stranger's file may number them as it likes."""
MARKS = {
    "all": "takes it",
    "part": "takes a part",
    "wrong": "takes it WRONG",
    "none": "does not take it",
    "unknown": "is not known to",
}


def inspect(ask: InspectArgs) -> int:
    """Print what the file says and holds."""
    terminal = Console(highlight=False, soft_wrap=True, markup=False)
    gc.disable()  # thousands of small objects live until the end; looking for dead ones took a third of the time
    found = describe(Path(ask.file))
    if ask.format is PrintFormat.json:
        terminal.print(json.dumps(_for_scripts(found), indent=2, allow_nan=False))
        return 0
    terminal.print(_facts(found))
    terminal.print()
    terminal.print(_groups(found.groups))
    terminal.print()
    terminal.print(_chart(found.norms))
    terminal.print()
    terminal.print(_takers(found))
    for remark in found.remarks:
        terminal.print(f"note: {remark}")
    return 0


def _facts(found: Description) -> Table:
    size = f"{found.layers} layers, {found.parameters:,} parameters, {found.bytes / 1e6:.1f} MB"
    text = f", and {found.text_layers} layers of the text encoders" if found.text_layers else ""
    recipe = f"in the file; get it with: flux-lora reproduce file={found.file}" if found.recipe else "not in the file"
    rows = {
        "kind": f"{', '.join(found.kinds)}; {found.dialect} names; {', '.join(found.dtypes)}",
        "rank": _numbers(found.ranks) or "none",
        "alpha": _numbers(found.alphas) or "none",
        "size": size + text,
        "numbers": "all finite" if found.finite else "NOT FINITE: the file is broken",
        "trigger": found.trigger or _guess(found.tags),
        "title": found.title or "not said",
        "base": found.base or "not said",
        "licence": found.licence or "not said",
        "recipe": recipe,
        "sha256": found.hashes.sha256,
        "AutoV2, AutoV3": f"{found.hashes.autov2}, {found.hashes.autov3}",
    }
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in rows.items():
        table.add_row(name, Text(value, overflow="fold"))
    return table


def _guess(tags: Sequence[str]) -> str:
    return f"not said; its captions say most often: {', '.join(tags)}" if tags else "not said"


def _groups(groups: Sequence[Group]) -> Table:
    table = Table("where", "layers", "kind", "rank", "alpha", box=None, pad_edge=False)
    for group in groups:
        numbers = (_numbers(group.ranks), _numbers(group.alphas))
        table.add_row(group.place, str(group.layers), ", ".join(group.kinds), *numbers)
    return table


def _chart(norms: Mapping[str, float]) -> Table:
    """One letter a block, the taller the more it changes; the tallest of all blocks is a whole one."""
    table = Table("blocks", "length of the change", "", box=None, pad_edge=False)
    table.columns[1].no_wrap = True
    tallest = max(filter(isfinite, norms.values()), default=0.0) or 1.0
    families: defaultdict[str, dict[int, float]] = defaultdict(dict)
    for block, norm in norms.items():
        family, _, number = block.rpartition(".") if block != REST else (REST, "", "")
        families[family][int(number or 0)] = norm
    for family, name in BLOCK_TYPES.items():
        blocks = families.get(family)
        if blocks:
            first, last = min(blocks), min(max(blocks), min(blocks) + MOST_BLOCKS)
            span = f" {first} to {last}" if last > first else f" {first}" if family != REST else ""
            letters = "".join(_letter(blocks.get(number, 0.0) / tallest) for number in range(first, last + 1))
            table.add_row(name + span, letters, _range(blocks))
    return table


def _letter(height: float) -> str:
    return HEIGHTS[min(int(height * len(HEIGHTS)), len(HEIGHTS) - 1)] if isfinite(height) else BROKEN


def _range(blocks: Mapping[int, float]) -> str:
    known = [norm for norm in blocks.values() if isfinite(norm)]
    broken = ", ".join(str(number) for number, norm in blocks.items() if not isfinite(norm))
    ends = dict.fromkeys(f"{end:.3g}" for end in (min(known), max(known))) if known else ()
    told = " to ".join(ends)
    return "; ".join(filter(None, (told, f"not finite in {broken}" if broken else "")))


def _takers(found: Description) -> Table:
    table = Table("program", "", "", box=None, pad_edge=False)
    for verdict in found.verdicts:
        table.add_row(verdict.reader, MARKS[verdict.takes], Text(verdict.reason))
    return table


def _numbers(values: Sequence[float]) -> str:
    shown = [f"{value:g}" for value in values]
    return ", ".join(shown) if len(shown) <= 4 else f"{shown[0]} to {shown[-1]} ({len(shown)} of them)"


def _for_scripts(found: Description) -> object:
    short = {"autov2": found.hashes.autov2, "autov3": found.hashes.autov3}
    return _finite({**asdict(found), "hashes": {**asdict(found.hashes), **short}})


def _finite(tree: object) -> object:
    """JSON has no infinity; what is not a number is null."""
    if isinstance(tree, Mapping):
        return {key: _finite(value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return [_finite(each) for each in tree]
    return None if isinstance(tree, float) and not isfinite(tree) else tree
