"""key=value words -> typed, checked arguments of a verb; lists in a config -> tuples."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from flux_lora.config.error_messages import unfit
from flux_lora.config.knobs import Knob, knobs_of, nearest
from flux_lora.errors import ConfigError

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
        return replace(value, **{field.name: _as_tuple(vars(value)[field.name]) for field in fields(value)})
    return value


def read_key_values(kind: type[Made], verb: str, words: Sequence[str]) -> Made:
    """The arguments in the words after a verb, as a `kind`; ConfigError with the nearest right word."""
    knobs = {knob.key: knob for knob in knobs_of(kind)}
    given = dict(_pairs(verb, words, knobs))
    missing = [knob for knob in knobs.values() if knob.default == "???" and not given.get(knob.key)]
    if missing:
        raise ConfigError(
            f"flux-lora {verb} needs {' and '.join(knob.key for knob in missing)}",
            fix="\n     ".join(f"add {knob.key}=<value>: {knob.reason}" for knob in missing),
        )
    tree = tree_of(kind)
    for key, text in given.items():
        _set(tree, knobs[key], text)
    made = OmegaConf.to_object(tree)
    assert isinstance(made, kind), "the root of the tree is of this kind"
    return with_tuples(made)


def tree_of(kind: type) -> DictConfig:
    """A dataclass as a tree that takes values: OmegaConf marks a frozen one read-only, and each section in it."""
    return _writable(OmegaConf.structured(kind))


def _writable(node: DictConfig) -> DictConfig:
    OmegaConf.set_readonly(node, False)
    for key in node:
        if not OmegaConf.is_missing(node, key) and OmegaConf.is_dict(node[key]):
            _writable(node[key])
    return node


def _pairs(verb: str, words: Sequence[str], knobs: Mapping[str, Knob]) -> Iterator[tuple[str, str]]:
    given: set[str] = set()
    for word in words:
        key, equals, text = word.partition("=")
        near = nearest(key, tuple(knobs))
        if not equals or key not in knobs:
            raise ConfigError(
                f"flux-lora {verb} knows no {key!r}" if equals else f"{word!r} is not key=value",
                fix=f"did you mean {near}=<value>?" if near else f"its keys are: {', '.join(knobs)}",
            )
        if key in given:
            raise ConfigError(f"{key} is given twice", fix="give it once")
        given.add(key)
        yield key, text


def _set(tree: DictConfig, knob: Knob, text: str) -> None:
    """Strings stay as they are typed, so that paths need no quotes; the rest is read as YAML. A shell does not expand
    ~ in key=~/x, so it is expanded here."""
    try:
        value = at_home(text) if knob.kind is str else OmegaConf.select(OmegaConf.create(f"it: {text}"), "it")
        if isinstance(value, ListConfig):
            value = [at_home(element) if isinstance(element, str) else element for element in value]
        OmegaConf.update(tree, knob.key, value)
    except (OmegaConfBaseException, YAMLError) as error:
        raise unfit(knob, repr(text)) from error


def at_home(text: str) -> str:
    """~/loras/a.safetensors -> /home/jane/loras/a.safetensors; anything else stays as it is."""
    return str(Path(text).expanduser()) if text.startswith("~/") else text
