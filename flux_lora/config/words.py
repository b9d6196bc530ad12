"""key=value words into what a verb is asked, typed and checked."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from flux_lora.config.complaints import unfit
from flux_lora.config.knobs import Knob, knobs_of, nearest
from flux_lora.config.tuples import with_tuples
from flux_lora.errors import ConfigError

Ask = TypeVar("Ask")


def read_key_values(ask: type[Ask], verb: str, words: Sequence[str]) -> Ask:
    """The ask that the words after a verb make; every slip is a ConfigError with the nearest right word."""
    knobs = {knob.key: knob for knob in knobs_of(ask)}
    given = dict(_pairs(verb, words, knobs))
    missing = [knob for knob in knobs.values() if knob.default == "???" and not given.get(knob.key)]
    if missing:
        raise ConfigError(
            f"flux-lora {verb} needs {' and '.join(knob.key for knob in missing)}",
            fix="\n     ".join(f"add {knob.key}=<value>: {knob.reason}" for knob in missing),
        )
    tree = tree_of(ask)
    for key, text in given.items():
        _set(tree, knobs[key], text)
    made = OmegaConf.to_object(tree)
    assert isinstance(made, ask), "the root of the tree is the ask"
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
    seen: set[str] = set()
    for word in words:
        key, equals, text = word.partition("=")
        near = nearest(key, tuple(knobs))
        if not equals or key not in knobs:
            raise ConfigError(
                f"flux-lora {verb} knows no {key!r}" if equals else f"{word!r} is not key=value",
                fix=f"did you mean {near}=<value>?" if near else f"its keys are: {', '.join(knobs)}",
            )
        if key in seen:
            raise ConfigError(f"{key} is given twice", fix="give it once")
        seen.add(key)
        yield key, text


def _set(tree: DictConfig, knob: Knob, text: str) -> None:
    """A text stays as it is typed, so that paths need no quotes; the rest is read as YAML. A shell leaves ~ in key=~/x
    alone, so it is read here."""
    try:
        value = at_home(text) if knob.kind is str else OmegaConf.select(OmegaConf.create(f"it: {text}"), "it")
        if isinstance(value, ListConfig):
            value = [at_home(each) if isinstance(each, str) else each for each in value]
        OmegaConf.update(tree, knob.key, value)
    except (OmegaConfBaseException, YAMLError) as error:
        raise unfit(knob, repr(text)) from error


def at_home(text: str) -> str:
    """~/loras/a.safetensors -> /home/jane/loras/a.safetensors; anything else stays as it is."""
    return str(Path(text).expanduser()) if text.startswith("~/") else text
