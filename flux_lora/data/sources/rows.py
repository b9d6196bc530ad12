"""A row: one line of a table, one sample of a shard, one entry of a dataset."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

from flux_lora.data.box import Box
from flux_lora.data.sources.source import Columns

FILE_COLUMN = "file_name"
"""What Hugging Face's imagefolder calls it."""
CAPTION_COLUMNS = ("text", "caption", "captions")
BOX_COLUMN = "box"
"""[left, top, right, bottom] in pixels of the upright picture."""
SIDE_COLUMNS = ("box_left", "box_top", "box_right", "box_bottom")
"""Or a column for each side."""
BETWEEN_NUMBERS = re.compile(r"[\s,;]+")
MOST_PICTURE_BYTES = 2**28


@dataclass(frozen=True)
class Row:
    """Which picture, and what is said of it; or why that cannot be told."""

    where: str
    """"line 3"; empty where it is about the whole file."""
    name: str = ""
    texts: tuple[str, ...] = ()
    picture: bytes | None = None
    mask: bytes | None = None
    encoding: str = "utf-8"
    problem: str = ""
    """Goes on after file and line: "is not JSON"."""
    unread: tuple[str, ...] = ()
    """Parts of it that are not read, by their endings."""
    box: Box | None = None
    """What must stay inside a crop of the picture."""


class UnreadableError(Exception):
    """A value that is not what its column should hold. The rows turn it into their problem."""


def row_of(where: str, values: Mapping[str, object], columns: Columns) -> Row:
    """A row of named values."""
    try:
        name, picture = _picture(values, columns)
        return Row(where, name, texts_of(values, columns), picture, box=box_of(values))
    except UnreadableError as reason:
        return Row(where, problem=str(reason))


def texts_of(values: Mapping[str, object], columns: Columns) -> tuple[str, ...]:
    """The captions among named values; a list holds several of one picture."""
    column = next((each for each in (columns.caption, *CAPTION_COLUMNS) if values.get(each) is not None), "")
    value = values.get(column)
    listed: list[object] = value if isinstance(value, list) else [] if value is None else [value]
    texts = [text for text in listed if isinstance(text, str)]
    if len(texts) < len(listed):
        raise UnreadableError(f"has something else than text in {column!r}")
    if not all(map(_is_printable, texts)):
        raise UnreadableError(f"has half a character (a lone surrogate) in {column!r}")
    return tuple(texts)


def box_of(values: Mapping[str, object]) -> Box | None:
    """What must stay inside a crop, where the row says it: as a list, as a text with four numbers, or side by side."""
    sides = [values.get(each) for each in SIDE_COLUMNS]
    value = values.get(BOX_COLUMN) or (sides if any(side not in (None, "") for side in sides) else None)
    if value is None:
        return None
    listed = BETWEEN_NUMBERS.split(value.strip(" ()[]")) if isinstance(value, str) else value
    numbers = [_number(each) for each in listed] if isinstance(listed, list) else []
    if len(numbers) != len(SIDE_COLUMNS) or not all(map(isfinite, numbers)):
        raise UnreadableError(f"has something else than four numbers in {BOX_COLUMN!r}")
    box = Box(*numbers)
    if box.width <= 0 or box.height <= 0:
        raise UnreadableError(f"has a {BOX_COLUMN!r} that ends before it begins: it is left, top, right, bottom")
    return box


def _number(value: object) -> float:
    """Not finite where it is none."""
    try:
        return float(value) if isinstance(value, int | float | str) else nan
    except (ValueError, OverflowError):
        return nan


def _picture(values: Mapping[str, object], columns: Columns) -> tuple[str, bytes | None]:
    """The picture's name, and its bytes where the row holds them."""
    value = next((values[each] for each in (FILE_COLUMN, columns.image) if values.get(each)), None)
    if value is None:
        raise UnreadableError(f"names no picture: neither {FILE_COLUMN!r} nor {columns.image!r} is there")
    held = value if isinstance(value, Mapping) else {"path": value}
    name, content = held.get("path") or "", held.get("bytes")
    if not isinstance(name, str) or not isinstance(content, bytes | None) or not _is_printable(name):
        raise UnreadableError(f"has no picture in {FILE_COLUMN!r} or {columns.image!r}, but {type(value).__name__}")
    if content is not None and len(content) > MOST_PICTURE_BYTES:
        raise UnreadableError(f"has a picture of more than {MOST_PICTURE_BYTES // 2**20} MiB")
    return name, content


def _is_printable(text: str) -> bool:
    return not any("\ud800" <= each <= "\udfff" for each in text)


def column_of_captions(names: Mapping[str, object] | list[str], columns: Columns) -> str:
    """The first column that can hold captions; empty where none can."""
    return next((each for each in (columns.caption, *CAPTION_COLUMNS) if each in names), "")


def said_at(file: Path, where: str) -> str:
    """How a line of a file is called in a report."""
    return f"{file.name}, {where}" if where else file.name
