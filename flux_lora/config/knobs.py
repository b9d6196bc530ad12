"""Every knob by its dotted key, with its default and reason, and the nearest one to a typo."""

import ast
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from difflib import SequenceMatcher
from enum import StrEnum
from functools import cache
from itertools import pairwise
from typing import get_origin, get_type_hints

from flux_lora.config import schema

SAYINGS = {
    "lr": "train.learning_rate",
    "max_train_steps": "train.steps",
    "epochs": "train.steps",
    "network_dim": "adapter.rank",
    "network_alpha": "adapter.alpha",
    "instance_prompt": "data.trigger",
    "output_dir": "run.dir",
    "max_grad_norm": "train.clip",
}
"""What other trainers call it."""

ALIKE = 0.6
"""Share of letters in common from which a word counts as a typo of another."""


@dataclass(frozen=True)
class Knob:
    """One thing a person can set."""

    key: str
    kind: type
    default: str
    """As text; ??? where one has to be given."""
    reason: str

    @property
    def choices(self) -> tuple[str, ...]:
        """The names to choose from; none for numbers and free text."""
        return tuple(self.kind.__members__) if issubclass(self.kind, StrEnum) else ()


def all_knobs() -> tuple[Knob, ...]:
    """Every knob, in the order of the schema."""
    return knobs_of(schema.RunConfig)


@cache
def knobs_of(root: type) -> tuple[Knob, ...]:
    """Every knob of a dataclass and of the dataclasses in it."""
    return tuple(_knobs_of(root, prefix=""))


def sections() -> tuple[str, ...]:
    """The names that hold knobs: run, model, data, ..."""
    return tuple(dict.fromkeys(knob.key.split(".")[0] for knob in all_knobs() if "." in knob.key))


def nearest(word: str, choices: Sequence[str]) -> str:
    """The choice that a mistyped word was probably meant to be, or nothing."""
    alike = max(choices, key=lambda choice: _likeness(word, choice), default="")
    return alike if alike and _likeness(word, alike) >= ALIKE else ""


def nearest_key(key: str, also: Sequence[str] = ()) -> str:
    """The knob or group that a mistyped key was probably meant to be, or nothing."""
    leaf = key.split(".")[-1]
    keys = [knob.key for knob in all_knobs()]
    same_leaf = [known for known in keys if known.split(".")[-1] == leaf]
    if same_leaf:
        return nearest(key, same_leaf) or same_leaf[0]
    if leaf in SAYINGS:
        return SAYINGS[leaf]
    whole = nearest(key, [*keys, *also])
    if whole:
        return whole
    same_end = nearest(leaf, [known.split(".")[-1] for known in keys])
    return next((known for known in keys if known.split(".")[-1] == same_end), "")


def _likeness(word: str, choice: str) -> float:
    return SequenceMatcher(None, word.lower(), choice.lower()).ratio()


def _knobs_of(section: type, *, prefix: str) -> Iterator[Knob]:
    kinds, reasons = get_type_hints(section), _reasons(section)
    for each in fields(section):
        kind = kinds[each.name]
        if isinstance(kind, type) and is_dataclass(kind):
            yield from _knobs_of(kind, prefix=f"{prefix}{each.name}.")
            continue
        default = _as_typed(_default_of(each))
        kind = kind if isinstance(kind, type) else get_origin(kind)  # tuple[float, ...] is no class of its own
        yield Knob(f"{prefix}{each.name}", kind, default, reasons.get(each.name, ""))


def _default_of(field: Field[object]) -> object:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return "???" if field.default is MISSING else field.default


@cache
def _reasons(section: type) -> dict[str, str]:
    """Field -> the text below it."""
    module = ast.parse(inspect.getsource(section))
    return dict(_texts_below(module.body[0].body)) if isinstance(module.body[0], ast.ClassDef) else {}


def _texts_below(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                yield name, " ".join(text.split())


def _as_typed(default: object) -> str:
    """The default as it would be written on the command line."""
    match default:
        case bool():
            return str(default).lower()
        case StrEnum():
            return default.name
        case tuple():
            return "[" + ",".join(map(str, default)) + "]"
        case _:
            return str(default)
