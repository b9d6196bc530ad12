"""ConfigErrors for recipes and command lines: what is wrong, and the fix.

It reads the text of Hydra's and OmegaConf's exceptions and never imports them.
"""

import re
from collections.abc import Sequence

from flux_lora.config.knobs import Knob, all_knobs, elements, nearest, nearest_key, sections, synonym_of
from flux_lora.errors import ConfigError

KINDS = {int: "a whole number", float: "a number", bool: "true or false", tuple: "a list such as [1,2]", str: "a text"}
FLAGS = ("--multirun", "--cfg", "--config-dir", "--help", "--info", "--resolve", "--package", "--shell-completion")
GIVEN_BY_HAND = {
    "data.folder": "add data.folder=<your folder of photos, each with a caption beside it>",
    "data.trigger": "add data.trigger=<the rare word that your captions use for the new thing>",
    "data.class_word": "add data.class_word=<what it is, in one common word: mug, cat, woman>",
}


def stray_word(word: str) -> ConfigError:
    """A word that is neither a flag nor key=value, such as kohya's --network_dim=16."""
    name = word.lstrip("-").partition("=")[0]
    synonym = synonym_of(name)
    if synonym and not synonym.key:
        return ConfigError(f"{word!r} is neither a flag nor key=value", fix=f"here there is none: {synonym.reason}")
    near = synonym.key if synonym else (nearest(word, FLAGS) if word.startswith("-") else "") or nearest_key(name)
    written = near if near.startswith("-") or not near else f"{near}=<value>"
    return ConfigError(
        f"{word!r} is neither a flag nor key=value", fix=f"did you mean {written}?" if near else "write key=value"
    )


def unknown_key(key: str, *, groups: Sequence[str]) -> ConfigError:
    """A key that no knob and no group has."""
    synonym, problem = synonym_of(key), f"there is no knob {key!r}"
    if synonym and synonym.key:
        remark = f" ({synonym.reason})" if synonym.reason else ""
        return ConfigError(f"{problem}; here it is called {synonym.key}", fix=f"set {synonym.key}=...{remark}")
    if synonym:
        return ConfigError(problem, fix=f"here there is none: {synonym.reason}")
    near = nearest_key(key, also=groups)
    return ConfigError(problem, fix=f"did you mean {near!r}?" if near else "see all knobs: flux-lora train --help")


def unreadable(override: str) -> ConfigError:
    """An override that the grammar does not take."""
    key, _, value = override.partition("=")
    return ConfigError(
        f"{override!r} cannot be read: its value has characters with a meaning of their own",
        fix=f"quote the value, and the whole for the shell: '{key}=\"{value}\"'",
    )


def no_such_option(file: str, options: Sequence[str]) -> ConfigError:
    """A group's file that does not exist."""
    group, _, name = file.rpartition("/")
    near = nearest(name, options)
    choices = ", ".join(sorted(options))
    return ConfigError(
        f"there is no {group} {name!r}",
        fix=f"did you mean {group}={near}? There are: {choices}" if near else f"{group} is one of: {choices}",
    )


def missing_values(keys: Sequence[str]) -> ConfigError:
    """Knobs that nobody gave a value."""
    have = "has" if len(keys) == 1 else "have"
    return ConfigError(
        f"{' and '.join(keys)} {have} no value",
        fix="\n     ".join(GIVEN_BY_HAND.get(key, _given(key)) for key in keys),
    )


def _given(key: str) -> str:
    """How a knob gets its value; an element of a list has it where it stands."""
    place, _, leaf = key.rpartition(".")
    return f"write {leaf}: <value> into {place}" if place.endswith("]") else f"add {key}=<value>"


def translated(error: Exception, *, where: str = "") -> ConfigError:
    """An exception of Hydra or OmegaConf as a ConfigError."""
    text = "\n".join(map(str, _chain(error)))
    place = re.search(r"In '([^']+)'", text)
    prefix = f"{where or (place.group(1) if place else '')}: ".removeprefix(": ")
    return _about_an_element(text, prefix) or _about_a_knob(text, prefix)


def _about_an_element(text: str, prefix: str) -> ConfigError | None:
    """An error inside an element of a list, such as data.sources; the exception names its keys without the list's."""
    key, kind = _named(text, "full_key"), _named(text, "object_type")
    held = re.search(r"is not a subclass of (\w+)", text)
    element = elements().get(held.group(1) if held else kind)
    if element is None:
        return None
    if held:
        first = next(iter(element.kinds))
        fix = f"write each element with its keys: {element.of}=[{{{first}: <value>}}]"
        return ConfigError(f"{prefix}{key} cannot be {_bad_value(text)}", fix=fix)
    if key not in element.kinds:
        near, known = nearest(key, list(element.kinds)), ", ".join(element.kinds)
        fix = f"did you mean {near!r}? There are: {known}" if near else f"its keys are: {known}"
        return ConfigError(f"{prefix}an element of {element.of} has no key {key!r}", fix=fix)
    taken = element.kinds[key]
    knob = Knob(key, taken, default="", reason="")
    value = _bad_value(text)
    return ConfigError(f"{prefix}in {element.of}, {key} cannot be {value}", fix=_fix_for(knob, value))


def _named(text: str, what: str) -> str:
    """The word after full_key or object_type in the text of an exception."""
    found = re.search(rf"{what}[:=] ?(\S+)", text)
    return found.group(1) if found else ""


def _about_a_knob(text: str, prefix: str) -> ConfigError:
    key = _named(text, "full_key")
    knob = next((knob for knob in all_knobs() if knob.key == key), None)
    if "not in '" in text and key:
        unknown = unknown_key(key, groups=())
        return ConfigError(prefix + unknown.problem, fix=unknown.fix)
    if knob:
        return unfit(knob, _bad_value(text), where=prefix)
    merged = re.search(r"Error merging override (\S+?)=(.*)", text)  # of a list the exception names an element alone
    listed = next((knob for knob in all_knobs() if merged and knob.key == merged[1] and knob.listed_choices), None)
    if merged and listed:
        return unfit(listed, repr(merged[2]), where=prefix)
    if key in sections():
        inner = next(knob.key for knob in all_knobs() if knob.key.startswith(f"{key}."))
        return ConfigError(f"{prefix}{key} is a section of knobs", fix=f"set one of them, such as {inner}=<value>")
    if "Ambiguous value" in text:
        return ConfigError(_plain_line(text), fix="add --multirun for one run each, or write a list: key=[1,2]")
    return ConfigError(prefix + _plain_line(text), fix="see what is composed: add --cfg job")


def unfit(knob: Knob, value: str, *, where: str = "") -> ConfigError:
    """A value that this knob cannot have."""
    return ConfigError(f"{where}{knob.key} cannot be {value}", fix=_fix_for(knob, value))


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _bad_value(text: str) -> str:
    found = re.search(r"[Vv]alue:? '([^']*)'", text) or re.search(r"value: (.*)", text)
    return repr(found.group(1)) if found else "that"


def _fix_for(knob: Knob, value: str) -> str:
    if knob.choices:
        choices = ", ".join(knob.choices)
        near = nearest(value.strip("'"), knob.choices)
        return f"did you mean {knob.key}={near}? There are: {choices}" if near else f"it is one of: {choices}"
    if knob.listed_choices:
        words = re.findall(r"[\w-]+", value)
        meant = [word if word in knob.listed_choices else nearest(word, knob.listed_choices) for word in words]
        known, listed = ", ".join(knob.listed_choices), ",".join(meant)
        asked = f"did you mean {knob.key}=[{listed}]? There are" if meant and all(meant) else "it is a list of some of"
        return f"{asked}: {known}"
    example = "" if knob.default in ("???", "") else f", for instance {knob.key}={knob.default}"
    return f"give {KINDS.get(knob.kind, 'a value')}{example}"


def _plain_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("In '")]
    return lines[0] if lines else "the recipe cannot be composed"
