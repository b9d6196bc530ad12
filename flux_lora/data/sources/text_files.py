"""Decode caption files in utf-8, utf-16 or cp1252. Nothing here raises."""

import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from dataclasses import dataclass
from os import fstat
from pathlib import Path
from unicodedata import category

from flux_lora.config.choices import CaptionLines

MOST_CAPTION_BYTES = 2**20
LINE_ENDS = re.compile(r"\r\n|\r|\n")
CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
FOREIGN_RUN = re.compile(r"[^\x00-\x7f\xa0«»‘’“”–—…]{4}")
"""No Western word has four accented letters in a row: the text is Cyrillic, Chinese or binary."""

NOT_TEXT = frozenset(("Cc", "Cn", "Co", "Cs"))
"""Unicode categories of control, unassigned, private and surrogate code points."""


@dataclass(frozen=True)
class DecodedText:
    """The text of a file and its encoding, or the reason why it cannot be decoded."""

    text: str
    encoding: str = ""
    """utf-8, utf-8-sig, utf-16, utf-16-le and utf-16-be (those two without a byte order mark), or cp1252."""
    problem: str = ""
    """Goes on after the file's name: "is no text in utf-8, utf-16 or cp1252"."""

    @property
    def undecodable(self) -> bool:
        """Whether it could not be read as text."""
        return bool(self.problem)


def read_text_file(file: Path, *, most_bytes: int = MOST_CAPTION_BYTES) -> DecodedText:
    """The text of a file, or the reason why there is none."""
    try:
        with file.open("rb") as opened:
            size = fstat(opened.fileno()).st_size  # to ask for more is to have more set aside
            content = opened.read(min(size, most_bytes) + 1)
    except OSError as error:
        return DecodedText("", problem=f"cannot be opened ({error.strerror})")
    if len(content) > most_bytes:
        return DecodedText("", problem=f"holds more than {most_bytes // 1024:,} KiB")
    return decode_text(content)


def decode_text(content: bytes) -> DecodedText:
    """Decode by the byte order mark; without one, as utf-16 if there are zero bytes; else as utf-8, then cp1252."""
    for encoding in _likely_encodings(content):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if _is_plausible(text, encoding):
            return DecodedText(text, encoding)
    return DecodedText("", problem="is no text in utf-8, utf-16 or cp1252")


def captions_of(text: str, lines: CaptionLines) -> tuple[str, ...]:
    """The lines of a text, joined or as one caption each. Empty lines and blanks around lines are dropped."""
    kept = [stripped for line in LINE_ENDS.split(text) if (stripped := line.strip())]
    if lines is CaptionLines.variants or not kept:
        return tuple(kept)
    return (" ".join(kept),)


def _likely_encodings(content: bytes) -> tuple[str, ...]:
    if content.startswith(BOM_UTF8):
        return ("utf-8-sig",)
    if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return ("utf-16",)
    if b"\0" in content:
        return ("utf-16-le",) if content[1::2].count(0) > content[::2].count(0) else ("utf-16-be",)
    return ("utf-8", "cp1252")


def _is_plausible(text: str, encoding: str) -> bool:
    """Whether decoded text is plausible. Nearly any bytes decode as cp1252, or as utf-16 without a byte order mark, so
    those are checked more strictly."""
    if encoding == "cp1252":
        return not CONTROLS.search(text) and not FOREIGN_RUN.search(text)
    if encoding in {"utf-16-le", "utf-16-be"}:
        return all(category(character) not in NOT_TEXT or character.isspace() for character in text)
    return "\0" not in text
