"""evaluate runs=[a,b]: runs that were evaluated, side by side on one page."""

from pathlib import Path

from flux_lora.commands.terminal import FELL_SHORT, plain_console
from flux_lora.config.file_verbs import CompareRunsArgs
from flux_lora.errors import ConfigError
from flux_lora.evaluate.choice import Verdict
from flux_lora.evaluate.compared_runs import write_runs_page
from flux_lora.runs.comparison import compare_runs as compared
from flux_lora.runs.comparison import read_judged_run


def compare_runs(ask: CompareRunsArgs) -> int:
    """Write the page and say which is best. 1 where none has a file to ship."""
    roots = [Path(run) for run in dict.fromkeys(ask.runs)]
    if len(roots) < 2:
        raise ConfigError("one run is nothing to compare", fix="name two or more: runs=[runs/a,runs/b]")
    page, terminal = compared([read_judged_run(root) for root in roots]), plain_console()
    terminal.print(page.answer)
    terminal.print(f"page: {write_runs_page(page, Path(ask.out)).resolve()}")
    return 0 if page.runs[0].verdict is Verdict.ship else FELL_SHORT
