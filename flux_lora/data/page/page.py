"""One page that shows what is wrong with a set of photos, and exactly what of each photo is trained on.

A Page is the whole input. The page it becomes needs no other file and no network. Its script sorts and filters;
everything is readable without it.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.page import cards as pictures
from flux_lora.data.page.cards import Card
from flux_lora.data.page.formats import counted, worst_first
from flux_lora.data.page.plots import plot
from flux_lora.data.page.thumbnails import bytes_data_uri
from flux_lora.errors import RunError

MOST_LISTED = 1000
"""Findings of one rule that are listed on the page."""


@dataclass(frozen=True, kw_only=True)
class DatasetReport:
    """Everything the page says."""

    title: str
    folder: Path
    """Files are named from here."""
    when: str = ""
    trigger: str = ""
    class_word: str = ""
    sentence: str = ""
    """What this set can teach, and what it cannot."""
    steps_said: str = ""
    """Steps per epoch and exposures per picture."""
    remarks: tuple[str, ...] = ()
    cards: tuple[Card, ...]
    findings: tuple[Finding, ...] = ()
    rules: tuple[Rule, ...] = ()
    """All there are, for what each is about."""
    twins: tuple[tuple[str, ...], ...] = ()
    """Groups of cards' names that show the same."""
    off: Mapping[str, str] = field(default_factory=dict)
    """Rules that were switched off, and why."""
    t5_limit: int = 512
    clip_limit: int = 77


@dataclass(frozen=True)
class RuleGroup:
    """All that one rule found."""

    rule: str
    severity: Severity
    about: str
    findings: tuple[Finding, ...]

    @property
    def listed(self) -> tuple[Finding, ...]:
        """Those that the page has room for."""
        return self.findings[:MOST_LISTED]


def write_dataset_report(page: DatasetReport, file: Path) -> Path:
    """Write the page, whole or not at all."""
    found = found_in(page)
    drawn = pictures.drawn(page.cards, frozenset(found))
    anchors = {id(card): f"c{place}" for place, card in enumerate(drawn)}
    environment = _environment(page)
    environment.filters["anchor"] = lambda card: anchors[id(card)]
    script = _source(environment, "dataset.js")
    text = environment.get_template("dataset.html.j2").render(
        page=page,
        groups=rule_groups(page.findings, page.rules),
        verdict=headline(page.findings),
        drawn=drawn,
        places={card.name: place for place, card in reversed(list(enumerate(drawn)))},
        singles=pictures.first_cards(drawn),
        sources={card.group for card in page.cards if not card.held_out},
        shelves=pictures.cards_by_bucket(card for card in drawn if card.width),
        all_shelves=pictures.cards_by_bucket(card for card in page.cards if card.bucket[0]),
        decoded=pictures.decoded(page.cards),
        plot=_plot(page.cards),
        found=found,
        script=Markup(script),  # noqa: S704  our own file
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )
    return _written(text, file)


def name_in(folder: Path, file: Path) -> str:
    """A file as the page names it: from the set's folder, or whole where it lies elsewhere."""
    if file == folder:
        return "the whole set"
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)


def found_in(page: DatasetReport) -> dict[str, list[Finding]]:
    """Name of a file -> what was found in it, or in it and others."""
    found: dict[str, list[Finding]] = {}
    for finding in worst_first(page.findings):
        for file in (finding.file, *finding.others):
            found.setdefault(name_in(page.folder, file), []).append(finding)
    return found


def rule_groups(findings: Sequence[Finding], rules: Sequence[Rule]) -> list[RuleGroup]:
    """Findings by rule: the worst first, and of those the most frequent."""
    about = {rule.id: rule.about for rule in rules}
    found: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in worst_first(findings):
        found.setdefault((finding.severity, finding.rule), []).append(finding)
    groups = [RuleGroup(rule, severity, about.get(rule, ""), tuple(all_)) for (severity, rule), all_ in found.items()]
    order = list(Severity)
    return sorted(groups, key=lambda group: (order.index(group.severity), -len(group.findings), group.rule))


def headline(findings: Sequence[Finding]) -> str:
    """The first thing to know."""
    if any(finding.fatal for finding in findings):
        return f"Not ready to train: {counted(findings)}."
    if any(finding.severity is Severity.warning for finding in findings):
        return f"Ready to train, but worth a look first: {counted(findings)}."
    return f"Ready to train: {counted(findings)}." if findings else "Ready to train: nothing to put right."


def highlighted_parts(caption: str, trigger: str, class_word: str) -> Iterator[tuple[str, str]]:
    """A caption cut at the words that matter: (text, "trigger", "class" or ""). Only a trigger's case matters."""
    words = {word: pattern for word, pattern in ((trigger, "{}"), (class_word, "(?i:{})")) if word}
    if not words:
        yield caption, ""
        return
    either = "|".join(words[word].format(re.escape(word)) for word in sorted(words, key=len, reverse=True))
    for place, text in enumerate(re.split(rf"(?<!\w)({either})(?!\w)", caption)):
        if text:
            yield text, ("trigger" if text == trigger else "class") if place % 2 else ""


def _written(text: str, file: Path) -> Path:
    """A file name may hold bytes that are no text."""
    half_written = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        half_written.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        half_written.replace(file)
    except OSError as error:
        with suppress(OSError):
            half_written.unlink(missing_ok=True)
        raise RunError(
            f"{file} cannot be written: {error.strerror}",
            fix="make room there, set run.dir to a folder on another disk, or leave the page out: check.page=false",
        ) from error
    return file


def _plot(cards: Sequence[Card]):
    trained = [card for card in pictures.first_cards(cards) if card.width and not card.held_out]
    if not trained:
        return None
    targets = [card.bucket for card in cards if card.bucket[0]]
    return plot([(card.width, card.height, card.enlarged) for card in trained], targets)


def _source(environment: Environment, name: str) -> str:
    """A file beside the template, as it is."""
    assert environment.loader is not None, "it was made with one"
    return environment.loader.get_source(environment, name)[0]


def _environment(page: DatasetReport) -> Environment:
    """Captions and file names are other people's text, so everything is escaped."""
    environment = Environment(
        loader=PackageLoader("flux_lora.data.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        uri=bytes_data_uri,
        named=lambda file: name_in(page.folder, file),
        pieces=lambda caption: highlighted_parts(caption, page.trigger, page.class_word),
        share=lambda part: f"{100 * part:.0f}%",
        number=lambda value: f"{value:.2f}".rstrip("0").rstrip("."),
    )
    return environment
