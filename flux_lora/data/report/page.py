"""The dataset report as one HTML file: the findings, and the crop of every image.

A DatasetReport is the whole input. The page needs no other file and no network. Its script sorts and filters;
everything is readable without it.
"""

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from math import log2, sqrt
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flux_lora.atomic import HALF_WRITTEN, write_bytes
from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.images.resize import bytes_data_uri
from flux_lora.data.report.cards import Card, cards_by_bucket, cards_to_draw, first_cards, images_by_note
from flux_lora.data.report.formats import counted, worst_first
from flux_lora.errors import RunError

TICK_SIDES = (64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 16384)
ROOM = 1.15
"""Factor by which the axes reach beyond the smallest and the largest side."""
FEWEST_TICKS_APART = 9.0
"""Percent of an axis; nearer labels would overlap."""


@dataclass(frozen=True)
class Dot:
    """One size, and how many images have it."""

    x: float
    """Percent of the plot's width."""
    y: float
    """Percent of its height, from the top."""
    radius: float
    """Pixels."""
    label: str
    enlarged: bool = False


@dataclass(frozen=True)
class SizeTick:
    """A label on both axes: pixels, and where it is in percent of the axis."""

    label: str
    at: float


@dataclass(frozen=True)
class Plot:
    """Sizes as dots, buckets as squares, and the ticks, the same on both axes."""

    sizes: tuple[Dot, ...]
    buckets: tuple[Dot, ...]
    ticks: tuple[SizeTick, ...]


def plot(sizes: Iterable[tuple[int, int, bool]], buckets: Iterable[tuple[int, int]]) -> Plot:
    """Lay out sizes (width, height, whether it is enlarged) and the buckets of all images, on logarithmic axes."""
    size_counts, bucket_counts = Counter(sizes), Counter(buckets)
    sides = [side for width, height, *_ in (*size_counts, *bucket_counts) for side in (width, height)]
    low, high = log2(min(sides) / ROOM), log2(max(sides) * ROOM)

    def along(side: float) -> float:
        return 100 * (log2(side) - low) / (high - low)

    def dot(width: int, height: int, count: int, *, enlarged: bool = False) -> Dot:
        label = f"{width}×{height}: {count} image{'s' * (count != 1)}"
        return Dot(along(width), 100 - along(height), 3 + sqrt(count), label, enlarged)

    return Plot(
        sizes=tuple(dot(width, height, n, enlarged=grown) for (width, height, grown), n in sorted(size_counts.items())),
        buckets=tuple(dot(width, height, n) for (width, height), n in sorted(bucket_counts.items())),
        ticks=tuple(_spaced(SizeTick(str(side), along(side)) for side in TICK_SIDES if low <= log2(side) <= high)),
    )


def _spaced(ticks: Iterable[SizeTick]) -> list[SizeTick]:
    """Those that are FEWEST_TICKS_APART from the one before."""
    kept: list[SizeTick] = []
    for tick in ticks:
        if not kept or tick.at - kept[-1].at >= FEWEST_TICKS_APART:
            kept.append(tick)
    return kept


MOST_LISTED = 1000
"""Findings of one rule that the page lists; the others are counted."""


@dataclass(frozen=True)
class TokenizerColumn:
    """A tokenizer as a column of the captions' table."""

    name: str
    limit: int
    """Tokens that are kept."""
    decisive: bool
    """Whether no other text encoder reads what this one truncates."""


@dataclass(frozen=True, kw_only=True)
class DatasetReport:
    """Everything that is on the page."""

    title: str
    folder: Path
    """Files are named relative to it."""
    when: str = ""
    trigger: str = ""
    class_word: str = ""
    sentence: str = ""
    """What this set can teach, and what it cannot."""
    steps_said: str = ""
    """Steps per epoch and exposures per image."""
    remarks: tuple[str, ...] = ()
    cards: tuple[Card, ...]
    findings: tuple[Finding, ...] = ()
    rules: tuple[Rule, ...] = ()
    """All rules, for what each is about."""
    twins: tuple[tuple[str, ...], ...] = ()
    """Groups of duplicates, by their cards' names."""
    off: Mapping[str, str] = field(default_factory=dict)
    """Rules that were switched off, and why."""
    tokenizers: tuple[TokenizerColumn, ...] = ()
    """Of the base; none where captions were not counted."""


@dataclass(frozen=True)
class RuleGroup:
    """All findings of one rule."""

    rule: str
    severity: Severity
    about: str
    findings: tuple[Finding, ...]

    @property
    def listed(self) -> tuple[Finding, ...]:
        """The first MOST_LISTED."""
        return self.findings[:MOST_LISTED]


def write_dataset_report(page: DatasetReport, file: Path) -> Path:
    """Write the page, whole or not at all. RunError where it cannot be written."""
    found = found_in(page)
    drawn = cards_to_draw(page.cards, frozenset(found))
    anchors = {id(card): f"c{index}" for index, card in enumerate(drawn)}
    environment = _environment(page)
    environment.filters["anchor"] = lambda card: anchors[id(card)]
    assert environment.loader is not None, "it was made with one"
    script = environment.loader.get_source(environment, "dataset.js")[0]
    text = environment.get_template("dataset.html.j2").render(
        page=page,
        groups=rule_groups(page.findings, page.rules),
        verdict=headline(page.findings),
        drawn=drawn,
        places={card.name: index for index, card in reversed(list(enumerate(drawn)))},
        singles=first_cards(drawn),
        sources={card.group for card in page.cards if not card.held_out},
        shelves=cards_by_bucket(card for card in drawn if card.width),
        all_shelves=cards_by_bucket(card for card in page.cards if card.bucket[0]),
        decoded=images_by_note(page.cards),
        plot=_plot(page.cards),
        found=found,
        script=Markup(script),  # noqa: S704  our own file
        script_hash=b64encode(sha256(script.encode()).digest()).decode(),
    )
    _write(text, file)
    return file


def name_in(folder: Path, file: Path) -> str:
    """A file as the page names it: relative to the set's folder, or its full path where it lies elsewhere."""
    if file == folder:
        return "the whole set"
    return file.relative_to(folder).as_posix() if file.is_relative_to(folder) else str(file)


def found_in(page: DatasetReport) -> dict[str, list[Finding]]:
    """Name of a file -> the findings about it, alone or with others."""
    found: dict[str, list[Finding]] = {}
    for finding in worst_first(page.findings):
        for file in (finding.file, *finding.others):
            found.setdefault(name_in(page.folder, file), []).append(finding)
    return found


def rule_groups(findings: Sequence[Finding], rules: Sequence[Rule]) -> list[RuleGroup]:
    """Findings by rule: the worst severity first, then the most frequent rule."""
    about = {rule.id: rule.about for rule in rules}
    found: dict[tuple[Severity, str], list[Finding]] = {}
    for finding in worst_first(findings):
        found.setdefault((finding.severity, finding.rule), []).append(finding)
    groups = [RuleGroup(rule, severity, about.get(rule, ""), tuple(all_)) for (severity, rule), all_ in found.items()]
    order = list(Severity)
    return sorted(groups, key=lambda group: (order.index(group.severity), -len(group.findings), group.rule))


def headline(findings: Sequence[Finding]) -> str:
    """Whether the set is ready to train, and the counts of findings."""
    if any(finding.fatal for finding in findings):
        return f"Not ready to train: {counted(findings)}."
    if any(finding.severity is Severity.warning for finding in findings):
        return f"Ready to train, but worth a look first: {counted(findings)}."
    return f"Ready to train: {counted(findings)}." if findings else "Ready to train: nothing to put right."


def highlighted_parts(caption: str, trigger: str, class_word: str) -> Iterator[tuple[str, str]]:
    """Split a caption at trigger and class word: (text, "trigger", "class" or ""). Only the trigger's case matters."""
    words = {word: pattern for word, pattern in ((trigger, "{}"), (class_word, "(?i:{})")) if word}
    if not words:
        yield caption, ""
        return
    either = "|".join(words[word].format(re.escape(word)) for word in sorted(words, key=len, reverse=True))
    for index, text in enumerate(re.split(rf"(?<!\w)({either})(?!\w)", caption)):
        if text:
            yield text, ("trigger" if text == trigger else "class") if index % 2 else ""


def _write(text: str, file: Path) -> None:
    """As UTF-8, with bytes of file names that are no text escaped."""
    try:
        write_bytes(text.encode("utf-8", "backslashreplace"), file)
    except OSError as error:
        with suppress(OSError):
            file.with_name(f"{file.name}{HALF_WRITTEN}").unlink(missing_ok=True)
        raise RunError(
            f"{file} cannot be written: {error.strerror}",
            fix="make room there, set run.dir to a folder on another disk, or leave the page out: check.page=false",
        ) from error


def _plot(cards: Sequence[Card]) -> Plot | None:
    trained = [card for card in first_cards(cards) if card.width and not card.held_out]
    if not trained:
        return None
    buckets = [card.bucket for card in cards if card.bucket[0]]
    return plot([(card.width, card.height, card.enlarged) for card in trained], buckets)


def _environment(page: DatasetReport) -> Environment:
    """Captions and file names are untrusted, so everything is escaped."""
    environment = Environment(
        loader=PackageLoader("flux_lora.data.report"),
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
