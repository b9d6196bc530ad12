"""The terminal: progress bars, a status line, exit codes."""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from flux_lora.data.progress import Progress

WARNED, FELL_SHORT, REFUSED = 1, 1, 2
"""Exit codes: warnings under strict=true; no candidate passes; something that a person can put right."""
LONGEST_NAME = 40


def plain_console() -> Console:
    """Standard output, without markup or colours of rich's own."""
    return Console(soft_wrap=True, highlight=False, markup=False)


class Terminal:
    """Feedback of a run (runs.run.Feedback) on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)

    @contextmanager
    def progress(self, doing: str, *, keeps: bool = False) -> Iterator[Progress]:
        """A bar; where what is done is kept, whoever interrupts is told how much that is."""
        last = deque(["nothing was missing yet"], maxlen=1)
        with bar(doing) as shown:

            def progress(done: int, total: int, name: str) -> None:
                last.append(f"{done} of {total} are done and kept, the last is {name}")
                shown(done, total, name)

            try:
                yield progress
            except KeyboardInterrupt:
                if keeps:
                    print(f"{doing} was stopped: {last[0]}", file=sys.stderr)
                raise

    @contextmanager
    def status(self, doing: str) -> Iterator[Callable[[str], None]]:
        """A line that says what is being done."""
        with Console(stderr=True).status(doing) as status:
            yield status.update

    def say(self, line: str) -> None:
        """One line."""
        self._console.print(line, markup=False)


@contextmanager
def bar(doing: str, terminal: Console | None = None) -> Iterator[Progress]:
    """How many of how many, how fast, and how long it will still take. Where there is no terminal, nothing is shown."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=terminal or Console(stderr=True), transient=True) as shown:
        task = shown.add_task(doing, total=None, rate="")

        def progress(done: int, total: int, name: str) -> None:
            if done == 1:  # another stage begins
                shown.reset(task, total=total)
            description, rate = f"{doing} {escape(name[:LONGEST_NAME])}", _rate(done, shown.tasks[0].elapsed)
            shown.update(task, completed=done, total=total, description=description, rate=rate)

        yield progress


def _rate(done: int, seconds: float | None) -> str:
    return f"{done / seconds:.1f}/s" if seconds else ""
