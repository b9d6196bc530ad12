"""Command lines and recipes with keys of earlier versions (knobs.RENAMED) -> with the keys of this one."""

import re
import sys
from collections.abc import Collection, Sequence
from functools import cache

from flux_lora.config.knobs import RENAMED
from flux_lora.errors import ConfigError

REFERENCE = re.compile(rf"(?<=\$\{{)({'|'.join(map(re.escape, RENAMED))})(?=\}})")
"""An interpolation of Hydra's, such as ${train.clip}."""

SWEPT = "hydra.sweeper.params."
"""Where a recipe says what --multirun goes through; the keys below it are dotted."""


@cache
def say_renamed(old: str) -> None:
    """Say on standard error what an old key is called now; once a process for each."""
    sys.stderr.write(f"{old} is called {RENAMED[old]} now\n")


def overrides_with_new_names(overrides: Sequence[str]) -> tuple[str, ...]:
    """Overrides of the command line by the keys of this version; ConfigError if one is given by both its names."""
    keys = {_key_of(override) for override in overrides}
    return tuple(_override_with_new_name(override, keys) for override in overrides)


def with_new_names(tree: object, *, where: str, prefix: str = "") -> object:
    """A recipe as plain dicts and lists, with the keys of this version and in the same order.

    `prefix` is where the tree stands in the whole recipe ("" or "model."), `where` is what an error names.
    ConfigError if a knob is there by both its names.
    """
    match tree:
        case str():
            return _references_with_new_names(tree)
        case list():
            return [with_new_names(element, where=where, prefix=f"{prefix}[].") for element in tree]
        case dict():
            names = _new_names(tuple(tree), prefix, where)
            return {
                names[key]: with_new_names(value, where=where, prefix=f"{prefix}{key}.") for key, value in tree.items()
            }
        case _:
            return tree


def _key_of(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _override_with_new_name(override: str, keys: Collection[str]) -> str:
    """train.clip=0.5 -> train.max_grad_norm=0.5. A + before an old key is dropped: what it is called now is a knob."""
    old, (_, equals, value) = _key_of(override), override.partition("=")
    if old not in RENAMED:
        return override.partition("=")[0] + equals + _references_with_new_names(value)
    _refuse_both(old, keys, where="")
    say_renamed(old)
    removal = "~" if override.startswith("~") else ""
    return f"{removal}{RENAMED[old]}{equals}{_references_with_new_names(value)}"


def _new_names(keys: Sequence[object], prefix: str, where: str) -> dict[object, object]:
    """Of the keys of one mapping, each with its name now: clip -> max_grad_norm below train."""
    swept = prefix == SWEPT
    dotted = {key: f"{prefix}{key}".removeprefix(SWEPT) if swept or "." not in str(key) else "" for key in keys}
    for old in dotted.values():
        if old in RENAMED:
            _refuse_both(old, dotted.values(), where=where)
            say_renamed(old)
    return {key: RENAMED[old].removeprefix(prefix) if old in RENAMED else key for key, old in dotted.items()}


def _refuse_both(old: str, given: Collection[str], *, where: str) -> None:
    new = RENAMED[old]
    if new in given:
        place = f"{where}: " if where else ""
        raise ConfigError(f"{place}{old} is called {new} now, and both are given", fix=f"remove {old}, and keep {new}")


def _references_with_new_names(text: str) -> str:
    return REFERENCE.sub(lambda found: RENAMED[found[0]], text)
