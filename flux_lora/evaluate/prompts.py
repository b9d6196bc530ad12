"""The prompts an adapter is scored on, and those of its preservation images.

A prompts file has these sections, one prompt a line:

    [trigger]
    a {trigger} {class} on a wooden table
    [unrelated]
    a red bicycle in the rain
    [kept]
    a green vase on a shelf

[kept] may be left out: the standard one takes its place. The base renders its prompts for the preservation loss, so
none of them is scored. Class prompts need no section: they are the trigger prompts without the trigger.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flux_lora.config.assets import asset_folder
from flux_lora.config.choices import SubjectKind
from flux_lora.data.captioning.captioner import tidy, with_articles, without_trigger
from flux_lora.data.checks.subject_words import whole_word
from flux_lora.errors import ConfigError, DataError

SCORED = ("trigger", "unrelated")
SECTIONS = (*SCORED, "kept")
PLACEHOLDERS = ("{trigger}", "{class}")

SUITES = {SubjectKind.character: "character.txt", SubjectKind.style: "style.txt"}
"""Prompts files of data_templates/prompts by kind; product.txt for the others."""


@dataclass(frozen=True)
class Suite:
    """The prompts of a run. class_[i] is trigger[i] without the trigger."""

    trigger: tuple[str, ...]
    class_: tuple[str, ...]
    unrelated: tuple[str, ...]
    kept: tuple[str, ...] = ()
    """Never rendered for scores: the adapter is trained to leave the base's images of these as they are."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """All that are scored, in the order in which images of this suite are stored."""
        return self.trigger + self.class_ + self.unrelated


def read_prompts(file: Path, trigger: str, class_word: str) -> Suite:
    """Read a prompts file and fill in {trigger} and {class}. Raises DataError that names file and line."""
    if not file.is_file():
        raise DataError(
            f"{file} does not exist, so there is nothing to judge the adapter by",
            fix="copy data_templates/product/prompts.txt there and change it, or name a file: data.prompts=<file>",
        )
    sections = _sections_of(file)
    for name in SCORED:
        prompts = set(sections[name])
        if len(prompts) < 2:
            raise DataError(
                f"{file} has {len(prompts)} prompt(s) under [{name}], each counted once; scores compare at least 2",
                fix=f"write 4 or more prompts under [{name}], one a line",
            )
    suite = make_suite(sections["trigger"], sections["unrelated"], trigger, class_word)
    _refuse_scored_kept(sections["kept"], suite, file)
    kept = sections["kept"] or _sections_of(_standard_file(SubjectKind.product))["kept"]
    filled = [_fill(prompt, "", class_word) for prompt in kept]
    return replace(suite, kept=tuple(prompt for prompt in filled if prompt not in suite.prompts))


def _sections_of(file: Path) -> dict[str, list[str]]:
    """Section -> its prompts, placeholders not filled in. Raises DataError that names file and line."""
    sections: dict[str, list[str]] = {name: [] for name in SECTIONS}
    section = ""
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        line = line.strip()
        if line.startswith("["):
            section = _section(line, f"{file}:{number}")
        elif line and not line.startswith("#"):
            sections[_inside(section, f"{file}:{number}")].append(_checked(line, section, f"{file}:{number}"))
    return sections


def standard_prompts(kind: SubjectKind, trigger: str, class_word: str) -> Suite:
    """The suite of a folder without a prompts file, by the kind of subject."""
    return read_prompts(_standard_file(kind), trigger, class_word)


def _standard_file(kind: SubjectKind) -> Path:
    return asset_folder("data_templates") / "prompts" / SUITES.get(kind, "product.txt")


def make_suite(scenes: Sequence[str], unrelated: Sequence[str], trigger: str, class_word: str) -> Suite:
    """Fill in the placeholders of each scene twice: with the trigger, and without."""
    return Suite(
        trigger=tuple(_fill(scene, trigger, class_word) for scene in scenes),
        class_=tuple(without_trigger(_fill(scene, trigger, class_word), trigger, class_word) for scene in scenes),
        unrelated=tuple(_fill(prompt, "", class_word) for prompt in unrelated),
    )


def described_prompts(suite: Suite, trigger: str, class_word: str, description: str) -> tuple[str, ...]:
    """The trigger prompts with the subject in words in its place: "a zorb mug on a table" -> "a red mug on a table";
    none without a description. Raises ConfigError for a prompt that does not name the subject by both words."""
    if not description:
        return ()
    named = re.compile(rf"{whole_word(trigger)}\s+{whole_word(class_word)}", re.IGNORECASE)
    without = [prompt for prompt in suite.trigger if not named.search(prompt)]
    if without:
        raise ConfigError(
            f"evaluate.description cannot take the place of the subject in the prompt {without[0]!r}",
            fix=f"write {trigger} {class_word} together in it, or leave evaluate.description empty",
        )
    plain = re.sub(r"^(an?|the)\s+", "", description.strip(), flags=re.IGNORECASE)
    return tuple(with_articles(named.sub(lambda _: plain, prompt)) for prompt in suite.trigger)


def _section(line: str, where: str) -> str:
    name = line.strip("[] ").lower()
    if name not in SECTIONS:
        raise DataError(f"{where} opens a section {line}", fix="use [trigger], [unrelated] or [kept]")
    return name


def _inside(section: str, where: str) -> str:
    if not section:
        raise DataError(f"{where} has a prompt before any section", fix="put [trigger] above it")
    return section


def _checked(prompt: str, section: str, where: str) -> str:
    unknown = [name for name in re.findall(r"\{[^}]*\}", prompt) if name not in PLACEHOLDERS]
    if unknown:
        raise DataError(f"{where} has the placeholder {unknown[0]}", fix="use {trigger} or {class}")
    if section == "trigger" and "{trigger}" not in prompt:
        raise DataError(f"{where} is under [trigger] and has no {{trigger}}", fix='write "a {trigger} {class} ..."')
    if section != "trigger" and "{trigger}" in prompt:
        raise DataError(f"{where} is under [{section}] and says {{trigger}}", fix="move it under [trigger]")
    return prompt


def _refuse_scored_kept(kept: Sequence[str], suite: Suite, file: Path) -> None:
    """A prompt that is trained on cannot be scored."""
    twice = sorted(set(kept) & set(suite.prompts))
    if twice:
        raise DataError(f"{file} has {twice[0]!r} under [kept] and judges it too", fix="take it out of one of the two")


def _fill(scene: str, trigger: str, class_word: str) -> str:
    return tidy(scene.replace("{trigger}", trigger).replace("{class}", class_word))
