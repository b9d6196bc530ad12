"""Who hears how far work on many files has come."""

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Hears (done, total, name) after each file or caption."""


def no_progress(_done: int, _total: int, _name: str) -> None:
    """Hears and does nothing."""
