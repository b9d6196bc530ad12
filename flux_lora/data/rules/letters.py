"""Words in pictures that are no part of the thing: watermarks, web addresses, dates. Needs the extra 'ocr'."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from flux_lora.config.choices import Severity
from flux_lora.data.findings import Finding, Rule
from flux_lora.data.looks.reading import Line

WATERMARK = Rule(
    "watermark", Severity.warning, "A watermark is learned with the rest, and comes back in other pictures."
)
NOT_READ = Rule(
    "letters-not-read",
    Severity.note,
    "Words across a picture are found by reading it, for which the extra 'ocr' is needed.",
)
RULES: tuple[Rule, ...] = (WATERMARK, NOT_READ)

AGENCIES = (
    "shutterstock|gettyimages|istock|alamy|adobestock|dreamstime|depositphotos|123rf|bigstock|unsplash|pexels|freepik|"
    "vecteezy|pinterest|tiktok|instagram|imgur|watermark"
)
MARKS = re.compile(
    rf"©|\(c\)|®\s*\d{{4}}|all rights reserved|\b(?:{AGENCIES})\b|\bwww\.|https?:|\.(?:com|net|org)\b|(?<!\w)@\w{{3}}"
    r"|\b(?:19|20)\d\d[./-]\d{1,2}[./-]\d{1,2}\b|\b\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d\d\b|\b\d{1,2}:\d\d:\d\d\b",
    re.IGNORECASE,
)
"""What stands on photos and not on things: rights, agencies, addresses, dates."""

Readings = Mapping[Path, tuple[Line, ...]]


def judge_watermarks(images: Sequence[Path], readings: Readings | None) -> Iterator[Finding]:
    """Picture by picture; without a reader, says once that nothing was read. Other words may be a label, and pass."""
    if readings is None:
        if images:
            problem = "was not read for watermarks: the extra 'ocr' is not installed"
            yield NOT_READ.at(images[0].parent, problem, "run: pip install 'flux_lora[ocr]'")
        return
    for image in images:
        marks = [line.text for line in readings.get(image, ()) if MARKS.search(line.text)]
        if marks:
            said = ", ".join(repr(mark) for mark in marks[:2])
            yield WATERMARK.at(image, f"has a watermark: {said}", "use a clean copy, or crop it away or mask it")
