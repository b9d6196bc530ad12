"""Missing, empty, short and repeated captions; mojibake, invisible characters and stray blanks."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence

from flux_lora.config.choices import Severity, SourceRole
from flux_lora.data.checks.subject_words import SubjectWords, caption_name, start_of, subjects
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.samples import Sample

NO_CAPTION = Rule(
    "no-caption", Severity.error, "An image without a caption teaches its whole content to no word at all."
)
EMPTY_CAPTION = Rule("empty-caption", Severity.error, "A caption file with nothing in it is no caption.")
SHORT_CAPTION = Rule(
    "short-caption",
    Severity.warning,
    "What a caption does not say is learned as part of the thing: the table, the light, the ground.",
)
SAME_CAPTION = Rule(
    "same-caption",
    Severity.warning,
    "Images that differ have one caption: the adapter cannot tell what changed from what stayed.",
)
HELD_OUT_CAPTION = Rule(
    "held-out-caption",
    Severity.note,
    "A held-out image is asked for by its caption; without one by trigger and class alone, and its loss says less.",
)
PRESENCE_RULES: tuple[Rule, ...] = (NO_CAPTION, EMPTY_CAPTION, SHORT_CAPTION, SAME_CAPTION, HELD_OUT_CAPTION)

FEWEST_WORDS = 3
SIDECARS = (".txt", ".caption")


def judge_missing_captions(samples: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Missing, empty and short captions, sample by sample; then each group of images with the same caption. Pairs of an
    edit may all say the same: what is done."""
    for sample in samples:
        if not sample.captions:
            yield from _judge_missing(sample, words)
        elif sample.role is SourceRole.subject:
            yield from _judge_length(sample)
    yield from _judge_same([sample for sample in subjects(samples) if not sample.references])


def judge_held_out_captions(held_out: Sequence[Sample], words: SubjectWords) -> Iterator[Finding]:
    """Held-out images without a caption."""
    asked = f"a {words.trigger} {words.class_word}".strip()
    asked = "what most of the others say" if words.kind == "edit" else repr(asked)
    for sample in held_out:
        if not sample.captions:
            said = f"is held out and has no caption: it is asked for as {asked}"
            yield HELD_OUT_CAPTION.at(sample.image, said, f"say in {caption_name(sample)} what else is in the image")


def _judge_missing(sample: Sample, words: SubjectWords) -> Iterator[Finding]:
    """A caption file that cannot be decoded is no finding here: sources/captions.py reports it."""
    teaches = words.trigger and sample.role is SourceRole.subject
    shown = "that says what is done" if words.kind == "edit" else "that says what it shows"
    content = f"that says {words.trigger!r}" if teaches else shown
    fix = f"write a sentence {content} in {caption_name(sample)}"
    file = sample.caption_file
    if file is None or not file.is_file():
        yield NO_CAPTION.at(sample.image, "has no caption", fix)
    elif sample.encoding or not file.read_bytes().strip() or file.suffix not in SIDECARS:
        yield EMPTY_CAPTION.at(sample.image, f"has an empty caption in {file.name}", fix)


def _judge_length(sample: Sample) -> Iterator[Finding]:
    short = next((caption for caption in sample.captions if len(caption.split()) < FEWEST_WORDS), "")
    if short:
        yield SHORT_CAPTION.at(
            sample.image,
            f"has a caption of under {FEWEST_WORDS} words: {short!r}",
            f"say in {caption_name(sample)} what else is in the image, or the adapter learns it as part of the thing",
        )


def _judge_same(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Images with the same captions. An image that two sources list is one image."""
    groups: dict[tuple[str, ...], dict[str, Sample]] = defaultdict(dict)
    for sample in samples:
        key = tuple(sorted(" ".join(caption.casefold().split()).rstrip(".") for caption in sample.captions))
        if key:
            groups[key].setdefault(str(sample.image), sample)
    for group in groups.values():
        first, *rest = group.values()
        if rest:
            others = rest[0].image.name if len(rest) == 1 else f"{len(rest)} others"
            yield SAME_CAPTION.at(
                first.image,
                f"has the same caption as {others}: {start_of(first.captions[0])!r}",
                "give each its own: say what differs",
                tuple(sample.image for sample in rest),
            )


MOJIBAKE = Rule(
    "mojibake",
    Severity.warning,
    "Letters were saved in one encoding and read in another (CafÃ©): the model learns the broken word.",
)
CONTROL_CHARACTERS = Rule(
    "control-characters",
    Severity.warning,
    "Invisible characters in a caption are tokens of their own, and tear words apart.",
)
STRAY_BLANKS = Rule(
    "stray-blanks",
    Severity.note,
    "Doubled blanks, tabs, or a blank before a comma: harmless, and often the trace of a tool that cut captions up.",
)
CHARACTER_RULES: tuple[Rule, ...] = (MOJIBAKE, CONTROL_CHARACTERS, STRAY_BLANKS)

AROUND = 12
"""Characters quoted on either side of an error."""
INVISIBLE = frozenset(("Cc", "Cf", "Co", "Cn", "Cs"))
INSIDE_WORDS = frozenset("\n\r\t\u200c\u200d")
"""Line ends and tabs are blanks; joiners belong to emoji and to some scripts."""
BLANKS = re.compile(r"\s{2,}|[^\S \n]|\s[,;.!?](?=\s|$)")
CLOSING = frozenset("’”“‘–—…«»\xa0")
"""Signs that may stand after an accented letter in any text."""


def _cp1252_character(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


BYTE_OF = {letter: byte for byte in range(0x80, 0x100) for letter in (chr(byte), _cp1252_character(byte))}
TAIL = "[" + "".join(re.escape(letter) for letter, byte in BYTE_OF.items() if byte < 0xC0) + "]"
BROKEN = re.compile(rf"(?:[\xc2-\xdf]{TAIL}|[\xe0-\xef]{TAIL}{{2}}|[\xf0-\xf4]{TAIL}{{3}})+")
"""UTF-8 of two, three and four bytes as it looks when it is read as cp1252 or latin-1."""


def judge_characters(samples: Sequence[Sample]) -> Iterator[Finding]:
    """Mojibake, invisible characters and stray blanks; at most one finding of each rule for a sample."""
    for sample in samples:
        text = "\n".join(sample.captions)
        yield from _judge_mojibake(sample, text)
        yield from _judge_invisible(sample, text)
        if blanks := BLANKS.search(text):
            problem = f"has stray blanks in its caption: {_around(text, *blanks.span())!r}"
            yield STRAY_BLANKS.at(sample.image, problem, f"leave one blank between words in {caption_name(sample)}")


def mended(text: str) -> str:
    """A text with its mojibake decoded again as UTF-8."""
    return BROKEN.sub(lambda match: _reread(match.group()) or match.group(), text)


def _judge_mojibake(sample: Sample, text: str) -> Iterator[Finding]:
    lost = text.find("\N{REPLACEMENT CHARACTER}")
    if lost >= 0:
        yield MOJIBAKE.at(
            sample.image,
            f"has lost a letter in its caption: {_around(text, lost, lost + 1)!r}",
            f"write the word again in {caption_name(sample)} and save it as UTF-8",
        )
        return
    broken = next((word for word in text.split() if mended(word) != word), "")
    if broken:
        yield MOJIBAKE.at(
            sample.image,
            f"has broken letters in its caption: {broken!r} was {mended(broken)!r}",
            f"write {mended(broken)!r} in {caption_name(sample)} and save it as UTF-8",
        )


def _judge_invisible(sample: Sample, text: str) -> Iterator[Finding]:
    invisible = {letter for letter in mended(text) if unicodedata.category(letter) in INVISIBLE} - INSIDE_WORDS
    if invisible:
        first = sorted(invisible)[:3]
        names = ", ".join(f"U+{ord(letter):04X} {unicodedata.name(letter, '')}".strip() for letter in first)
        yield CONTROL_CHARACTERS.at(
            sample.image,
            f"has invisible characters in its caption: {names}",
            f"delete them from {caption_name(sample)}",
        )


def _reread(text: str) -> str:
    """Mojibake decoded as UTF-8; empty where it is none, or may be the letters that were meant."""
    if text[0] not in "ÂÃ" and all(letter in CLOSING for letter in text[1:]):
        return ""
    try:
        return bytes(BYTE_OF[letter] for letter in text).decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _around(text: str, start: int, end: int) -> str:
    return text[max(0, start - AROUND) : end + AROUND]
