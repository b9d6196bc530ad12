"""Characters that are not what somebody typed: broken umlauts, invisible ones, blanks too many."""

import re
import unicodedata
from collections.abc import Iterator, Sequence

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.rules.words import caption_name
from flux_lora.data.samples import Sample

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
RULES: tuple[Rule, ...] = (MOJIBAKE, CONTROL_CHARACTERS, STRAY_BLANKS)

AROUND = 12
"""Characters shown on either side of what is wrong."""
INVISIBLE = frozenset(("Cc", "Cf", "Co", "Cn", "Cs"))
INSIDE_WORDS = frozenset("\n\r\t\u200c\u200d")
"""Line ends and tabs are blanks; joiners belong to emoji and to some scripts."""
BLANKS = re.compile(r"\s{2,}|[^\S \n]|\s[,;.!?](?=\s|$)")
CLOSING = frozenset("’”“‘–—…«»\xa0")
"""Signs that may stand after an accented letter in any text."""


def _as_cp1252(byte: int) -> str:
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


BYTE_OF = {letter: byte for byte in range(0x80, 0x100) for letter in (chr(byte), _as_cp1252(byte))}
TAIL = "[" + "".join(re.escape(letter) for letter, byte in BYTE_OF.items() if byte < 0xC0) + "]"
BROKEN = re.compile(rf"(?:[\xc2-\xdf]{TAIL}|[\xe0-\xef]{TAIL}{{2}}|[\xf0-\xf4]{TAIL}{{3}})+")
"""UTF-8 of two, three and four bytes as it looks when it is read as cp1252 or latin-1."""


def judge_characters(samples: Sequence[Sample]) -> Iterator[Finding]:
    """What is wrong with the characters of each caption; each rule speaks once of a sample."""
    for sample in samples:
        text = "\n".join(sample.captions)
        yield from _judge_mojibake(sample, text)
        yield from _judge_invisible(sample, text)
        if blanks := BLANKS.search(text):
            problem = f"has stray blanks in its caption: {_around(text, *blanks.span())!r}"
            yield STRAY_BLANKS.at(sample.image, problem, f"leave one blank between words in {caption_name(sample)}")


def mended(text: str) -> str:
    """A text with its mojibake read again as what it was."""
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
    seen = {letter for letter in mended(text) if unicodedata.category(letter) in INVISIBLE} - INSIDE_WORDS
    if seen:
        names = ", ".join(f"U+{ord(letter):04X} {unicodedata.name(letter, '')}".strip() for letter in sorted(seen)[:3])
        yield CONTROL_CHARACTERS.at(
            sample.image,
            f"has invisible characters in its caption: {names}",
            f"delete them from {caption_name(sample)}",
        )


def _reread(text: str) -> str:
    """Empty where these may well be the letters that were meant."""
    if text[0] not in "ÂÃ" and all(letter in CLOSING for letter in text[1:]):
        return ""
    try:
        return bytes(BYTE_OF[letter] for letter in text).decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _around(text: str, start: int, end: int) -> str:
    return text[max(0, start - AROUND) : end + AROUND]
