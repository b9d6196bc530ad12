"""Lists back to tuples: YAML knows only lists, and a frozen config holds none."""

from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

Section = TypeVar("Section")


def with_tuples(section: Section) -> Section:
    """The same dataclass, and all inside it, with a tuple wherever a list stands."""
    values = {each.name: vars(section)[each.name] for each in fields(section)}
    return replace(section, **{name: _as_tuple(value) for name, value in values.items()})


def _as_tuple(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple(map(_as_tuple, value))
    return with_tuples(value) if is_dataclass(value) and not isinstance(value, type) else value
