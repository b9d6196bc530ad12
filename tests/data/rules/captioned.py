"""Samples that are only captions: no rule on captions opens a picture."""

from collections.abc import Iterable
from pathlib import Path

from flux_lora.config.choices import SourceRole
from flux_lora.data.findings import Finding
from flux_lora.data.samples import Sample

FOLDER = Path("photos")

PROSE = (
    "A zubo mug stands on a wooden table next to an open book, in warm light from a window.",
    "a zubo mug on a stone wall in a garden, with rain on the leaves behind it",
    "Somebody holds a zubo mug in both hands; only the hands and a knitted sleeve are in view.",
    "a zubo mug from above, full of coffee, beside a plate with two croissants",
    "The zubo mug lies on its side in the grass. A dog is looking at it from the left.",
    "a zubo mug on a shelf between a row of books and a small cactus in a pot",
    "At night, a zubo mug on a window sill, city lights far behind it and out of focus",
    "a zubo mug seen from the back on a plain blue ground, hard light from the right",
    "a child drinks from a zubo mug at a kitchen table, bread, cheese, grapes and a jar of honey around it",
    "a zubo mug in the snow, steam rising from it, footprints in the distance",
    "two people at a café; one of them is lifting a zubo mug and laughing",
    "a close-up of the handle of a zubo mug against a dark cloth",
)
"""Twelve captions that nobody could find fault with."""


def samples(*captions: str, role: SourceRole = SourceRole.subject) -> list[Sample]:
    """A sample for each caption: photos/00.png, photos/01.png, ..."""
    return [
        Sample(image=FOLDER / f"{number:02}.png", caption=caption, role=role) for number, caption in enumerate(captions)
    ]


def seen(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """File and rule of each finding."""
    return [(finding.file.name, finding.rule) for finding in findings]
