"""Progress callbacks."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called with (done, total, name) after each file or caption."""


def no_progress(_done: int, _total: int, _name: str) -> None:
    """Default progress callback: does nothing."""
