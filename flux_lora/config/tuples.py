"""Lists back to tuples: YAML knows only lists, and a frozen config holds none."""

from dataclasses import fields, is_dataclass, replace
from typing import TypeVar

Made = TypeVar("Made")


def with_tuples(config: Made) -> Made:
    """The same config with a tuple wherever a list stands, however deep."""
    made = _as_tuple(config)
    assert isinstance(made, type(config)), "a section stays what it was"
    return made


def _as_tuple(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple(map(_as_tuple, value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _as_tuple(vars(value)[each.name]) for each in fields(value)})
    return value
