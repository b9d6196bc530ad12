"""Rows of tables, shards and datasets; reads metadata.jsonl, .csv and .parquet as Hugging Face's imagefolder does."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from math import isfinite, nan
from pathlib import Path

from flux_lora.data.samples import IMAGE_ENDINGS, Box
from flux_lora.data.sources.listing import ending_of
from flux_lora.data.sources.source import CAPTION_COLUMN, FILE_COLUMN, REFERENCE_COLUMNS, Columns
from flux_lora.data.sources.text_files import LINE_ENDS, read_text_file
from flux_lora.errors import DataError

BOX_COLUMN = "box"
"""[left, top, right, bottom] in pixels of the upright image."""
SIDE_COLUMNS = ("box_left", "box_top", "box_right", "box_bottom")
"""Instead of `box`, a column for each side."""
BETWEEN_NUMBERS = re.compile(r"[\s,;]+")
MOST_IMAGE_BYTES = 2**28


@dataclass(frozen=True)
class Row:
    """One image by name or content, its captions, mask and box; or the reason why it cannot be read."""

    where: str
    """"line 3"; empty where it is about the whole file."""
    name: str = ""
    texts: tuple[str, ...] = ()
    image: bytes | None = None
    mask: bytes | None = None
    encoding: str = "utf-8"
    problem: str = ""
    """Goes on after file and line: "is not JSON"."""
    unread: tuple[str, ...] = ()
    """Endings of the parts of a shard's sample that are not read."""
    box: Box | None = None
    """The part of the image that must stay inside its crop."""
    references: tuple[str, ...] = ()
    """Names of the images that it was made from."""


class UnreadableError(Exception):
    """A value is not what its column should hold. Becomes the `problem` of its row."""


def row_of(where: str, values: Mapping[str, object], columns: Columns) -> Row:
    """A row from its values by column."""
    try:
        name, image = _image(values, columns)
        texts, references = texts_of(values, columns), references_of(values)
        return Row(where, name, texts, image, box=box_of(values), references=references)
    except UnreadableError as reason:
        return Row(where, problem=str(reason))


def texts_of(values: Mapping[str, object], columns: Columns) -> tuple[str, ...]:
    """The captions of a row, from the first column that has any; a list holds several of one image.

    Raises UnreadableError for anything but text, and where a column that was named is not there.
    """
    if columns.caption != CAPTION_COLUMN and columns.caption not in values:
        raise UnreadableError(f"has no column {columns.caption!r}")
    column = next((name for name in columns.captions if values.get(name) is not None), "")
    value = values.get(column)
    listed: list[object] = value if isinstance(value, list) else [] if value is None else [value]
    texts = [text for text in listed if isinstance(text, str)]
    if len(texts) < len(listed):
        raise UnreadableError(f"has something else than text in {column!r}")
    if not all(map(_is_printable, texts)):
        raise UnreadableError(f"has half a character (a lone surrogate) in {column!r}")
    return tuple(texts)


def box_of(values: Mapping[str, object]) -> Box | None:
    """The box of a row, if it has one: a list or text of four numbers, or a column for each side.

    Raises UnreadableError for anything but four finite numbers, and for a box without area.
    """
    sides = [values.get(side) for side in SIDE_COLUMNS]
    value = values.get(BOX_COLUMN) or (sides if any(side not in (None, "") for side in sides) else None)
    if value is None:
        return None
    listed = BETWEEN_NUMBERS.split(value.strip(" ()[]")) if isinstance(value, str) else value
    numbers = [_number(side) for side in listed] if isinstance(listed, list) else []
    if len(numbers) != len(SIDE_COLUMNS) or not all(map(isfinite, numbers)):
        raise UnreadableError(f"has something else than four numbers in {BOX_COLUMN!r}")
    box = Box(*numbers)
    if box.width <= 0 or box.height <= 0:
        raise UnreadableError(f"has a {BOX_COLUMN!r} that ends before it begins: it is left, top, right, bottom")
    return box


def references_of(values: Mapping[str, object]) -> tuple[str, ...]:
    """Names of the images that a row's was made from; none where no such column holds names of image files alone."""
    for column in REFERENCE_COLUMNS:
        value = values.get(column)
        listed = value if isinstance(value, list) else [value]
        names = [each for each in listed if isinstance(each, str) and ending_of(each) in IMAGE_ENDINGS]
        if len(names) == len(listed) and all(map(_is_printable, names)):
            return tuple(names)
    return ()


def _number(value: object) -> float:
    """NaN where it is no number."""
    try:
        return float(value) if isinstance(value, int | float | str) else nan
    except (ValueError, OverflowError):
        return nan


def _image(values: Mapping[str, object], columns: Columns) -> tuple[str, bytes | None]:
    """The image's name, and its bytes where the row holds them. Raises UnreadableError without either."""
    value = next((values[column] for column in columns.images if values.get(column)), None)
    if value is None:
        raise UnreadableError(f"names no image: neither {FILE_COLUMN!r} nor {columns.image!r} is there")
    held = value if isinstance(value, Mapping) else {"path": value}
    name, content = held.get("path") or "", held.get("bytes")
    if not isinstance(name, str) or not isinstance(content, bytes | None) or not _is_printable(name):
        raise UnreadableError(f"has no image in {FILE_COLUMN!r} or {columns.image!r}, but {type(value).__name__}")
    if content is not None and len(content) > MOST_IMAGE_BYTES:
        raise UnreadableError(f"has an image of more than {MOST_IMAGE_BYTES // 2**20} MiB")
    return name, content


def _is_printable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def column_of_captions(names: Mapping[str, object] | list[str], columns: Columns) -> str:
    """The first column that can hold captions; empty where none can."""
    return next((name for name in columns.captions if name in names), "")


TABLE_ENDINGS = (".jsonl", ".csv", ".parquet")
METADATA = frozenset(f"metadata{ending}" for ending in TABLE_ENDINGS)
"""Tables with captions of the images in their own folder and below it."""
MOST_TABLE_BYTES = 2**28
ROWS_AT_ONCE = 16


def read_table(file: Path, columns: Columns) -> Iterator[Row]:
    """The rows of a table in order. A row that cannot be read has a `problem`, and the next one is read."""
    if file.suffix.lower() == ".parquet":
        yield from _parquet_rows(file, columns)
        return
    decoded = read_text_file(file, most_bytes=MOST_TABLE_BYTES)
    if decoded.undecodable:
        yield Row("", problem=decoded.problem)
        return
    read_rows = _csv_rows if file.suffix.lower() == ".csv" else _jsonl_rows
    for row in read_rows(decoded.text, columns):
        yield replace(row, encoding=decoded.encoding)


def holds_images(file: Path, columns: Columns) -> bool:
    """Whether the table holds image bytes rather than paths, by the first row that can be read."""
    first = next((row for row in read_table(file, columns) if not row.problem), None)
    return first is not None and first.image is not None


def _jsonl_rows(text: str, columns: Columns) -> Iterator[Row]:
    for number, line in enumerate(LINE_ENDS.split(text), start=1):
        where = f"line {number}"
        if not line.strip():
            continue
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            yield Row(where, problem="is not JSON")
            continue
        yield row_of(where, values, columns) if isinstance(values, dict) else Row(where, problem="is no JSON object")


def _csv_rows(text: str, columns: Columns) -> Iterator[Row]:
    """Cells between commas, or the delimiter of the header: spreadsheets in some locales write semicolons."""
    first_line = LINE_ENDS.split(text, maxsplit=1)[0]
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first_line.count))
    try:
        header = next(rows, [])
        if not {FILE_COLUMN, columns.image} & set(header):
            yield Row("", problem=f"has no column {FILE_COLUMN!r}; its first line must name the columns")
            return
        for values in rows:
            where = f"line {rows.line_num}"
            if len(values) > len(header):
                yield Row(where, problem=f"has {len(values)} cells for {len(header)} columns: its text needs quotes")
            elif values:
                yield row_of(where, dict(zip(header, values, strict=False)), columns)
    except csv.Error as error:
        yield Row(f"line {rows.line_num}", problem=f"is not CSV ({error}), and nothing after it was read")


def _parquet_rows(file: Path, columns: Columns) -> Iterator[Row]:
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise DataError(
            f"{file} is a parquet table, and pyarrow is not installed", fix="run: pip install 'flux_lora[datasets]'"
        ) from None
    number = 0
    known = {*columns.images, *columns.captions, BOX_COLUMN, *SIDE_COLUMNS, *REFERENCE_COLUMNS}
    try:
        with ParquetFile(file) as table:
            present = [name for name in table.schema_arrow.names if name in known]
            batches = table.iter_batches(batch_size=ROWS_AT_ONCE, columns=present)
            for values in chain.from_iterable(rows.to_pylist() for rows in batches):
                number += 1
                yield row_of(f"row {number}", values, columns)
    except (ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        yield Row("", problem=f"cannot be read after row {number} ({reason})")
