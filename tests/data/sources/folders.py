"""Small sets for the tests of sources: images whose pixels do not matter here."""

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

from PIL import Image

from flux_lora.config.data import SourceConfig
from flux_lora.data.findings import Finding
from flux_lora.data.sources.find import find
from flux_lora.data.sources.source import Found, SourceOptions


def image_bytes(colour: int = 0, kind: str = "PNG") -> bytes:
    """An image of one grey."""
    kept = BytesIO()
    Image.new("RGB", (4, 3), (colour, colour, colour)).save(kept, kind)
    return kept.getvalue()


def lay_out(folder: Path, *names: str, **texts: str) -> Path:
    """Images by their names; captions, by the name of their image without ending, as keywords."""
    for number, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(image_bytes(number))
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    return folder


def write_jsonl(file: Path, *rows: Mapping[str, object]) -> Path:
    """A table of these rows."""
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return file


def read(place: Path | str, wanted: SourceOptions | None = None) -> Found:
    """What one source holds."""
    return find([SourceConfig(path=str(place))], wanted or SourceOptions())


def said(found: Found) -> list[tuple[str, str]]:
    """Images and captions by name."""
    return [(sample.image.name, sample.caption) for sample in found.samples]


def spoken_of(found: Found) -> list[tuple[str, str]]:
    """Files and rules of the findings."""
    return [(finding.file.name, finding.rule) for finding in found.findings]


def the_only(found: Found) -> Finding:
    """The finding, where there is one."""
    assert len(found.findings) == 1, spoken_of(found)
    return found.findings[0]
