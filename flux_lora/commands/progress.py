"""One bar on the terminal: how many of how many, how fast, and how long it will still take."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LONGEST_NAME = 40


@contextmanager
def bar(doing: str, terminal: Console | None = None) -> Iterator[Callable[[int, int, str], None]]:
    """Yields who is told (done, total, name). Where no terminal listens, nothing is shown."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=terminal or Console(stderr=True), transient=True) as shown:
        task = shown.add_task(doing, total=None, rate="")

        def told(done: int, total: int, name: str) -> None:
            if done == 1:  # another stage begins
                shown.reset(task, total=total)
            said = f"{doing} {escape(name[:LONGEST_NAME])}"
            shown.update(task, completed=done, total=total, description=said, rate=_rate(done, shown.tasks[0].elapsed))

        yield told


def _rate(done: int, seconds: float | None) -> str:
    return f"{done / seconds:.1f}/s" if seconds else ""
