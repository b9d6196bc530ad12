"""Lists whose elements have keys of their own, such as data.sources."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import get_args, get_origin, get_type_hints

from flux_lora.config.schema import RunConfig


@dataclass(frozen=True)
class Element:
    """What stands in such a list."""

    of: str
    """The list's dotted key."""
    kinds: Mapping[str, type]
    """What each of its keys takes."""


@cache
def elements() -> Mapping[str, Element]:
    """Those of every such list, by the name of their class."""
    return dict(_elements_in(RunConfig, prefix=""))


def _elements_in(section: type, *, prefix: str) -> Iterator[tuple[str, Element]]:
    for name, kind in get_type_hints(section).items():
        if is_dataclass(kind) and isinstance(kind, type):
            yield from _elements_in(kind, prefix=f"{prefix}{name}.")
        elif get_origin(kind) is tuple and is_dataclass(inner := get_args(kind)[0]) and isinstance(inner, type):
            yield inner.__name__, Element(f"{prefix}{name}", get_type_hints(inner))
